"""Turns a checkpoint into a Triptych package; needs `triptych[export]`."""
