"""Likeness of images in other precisions."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from triptych.benchmarks.peers import likeness
from triptych.benchmarks.peers.catalogue import own
from triptych.benchmarks.peers.driver import Plan
from triptych.benchmarks.peers.work import Size
from triptych.benchmarks.recorded import peers_page


def test_likeness_is_taken_image_by_image_against_the_first(
    package: Path, portable_package: Path, tmp_path: Path
) -> None:
    """By real processes: the same weights with other operators, and latents taken for others'."""
    changed = tmp_path / "changed"
    shutil.copytree(portable_package, changed, ignore=shutil.ignore_patterns("triptych.json"))
    config = json.loads((changed / "vae_decoder" / "config.json").read_text())
    (changed / "vae_decoder" / "config.json").write_text(json.dumps(config | {"scaling_factor": 0.5}))
    gone = own("gone", str(portable_package))
    peers = [
        own("exact", str(portable_package)),
        own("same", str(package)),
        own("other", str(changed)),
        replace(gone, options={**gone.options, "package": str(tmp_path / "nowhere")}),
    ]
    drawing = likeness.Drawing(["a fox", "an owl"], seeds=2, steps=2, guidance_scale=2.5)
    plan = Plan("c", str(portable_package))
    result = likeness.compare(plan, peers, Size(1, 128, 128), drawing, 1, lambda _: None)
    assert (result["pictures"], result["against"]) == (4, "exact")
    assert result["peers"]["same"]["psnr_db"]["worst"] > 45
    assert result["peers"]["same"]["below_30_db"] == 0
    assert result["peers"]["other"]["psnr_db"]["worst"] < 30
    assert result["peers"]["other"]["below_30_db"] > 0
    assert "nowhere" in result["peers"]["gone"]["failed"]
    assert "| **same** |" in "\n".join(peers_page._likeness(result))
