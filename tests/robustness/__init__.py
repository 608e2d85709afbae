"""Altered packages, images, adapters, jobs, settings, arguments and requests, kills and full disks, by a seed.

Every input must work or be one line and exit status 2. `python -m tests.robustness --cases 4000` prints a table of
outcomes and the inputs that failed; `--only KIND --case NUMBER` runs one of them again.
"""
