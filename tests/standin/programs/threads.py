"""Generate one image in each of several threads: python -m tests.standin.programs.threads PACKAGE COUNT STEPS ORDER

ORDER is `at-once` or `one-by-one`. Marks `image N` and `image N end` in the log, or `images` and `images end` around
all that are generated at once.
"""

import sys
from threading import Barrier, Thread

from tests.standin.marks import mark
from triptych.runtime import TextToImage


def main() -> None:
    """Read the command line and generate; an error in a thread is an error of the process."""
    package, count, steps, order = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    pipe = TextToImage.load(package, device="cuda")
    start = Barrier(count if order == "at-once" else 1)
    errors: list[BaseException] = []

    def generate(seed: int) -> None:
        try:
            start.wait()
            pipe("red heart", num_inference_steps=steps, guidance_scale=2.5, scheduler="euler", seed=seed)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [Thread(target=generate, args=(seed,)) for seed in range(count)]
    if order == "at-once":
        mark("images")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        mark("images end")
    else:
        for number, thread in enumerate(threads):
            mark(f"image {number}")
            thread.start()
            thread.join()
            mark(f"image {number} end")
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
