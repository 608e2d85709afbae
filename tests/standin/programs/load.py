"""Load a package: python -m tests.standin.programs.load PACKAGE DEVICE [PROVIDER OPTIONS as JSON]

Prints an error's class and message as JSON, or the warnings and the provider in use.
"""

import json
import sys
import warnings

from triptych.runtime import TextToImage, TriptychError


def main() -> None:
    """Read the command line, load and print."""
    package, device, *rest = sys.argv[1:]
    options = json.loads(rest[0]) if rest else None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            pipe = TextToImage.load(package, device=device, provider_options=options)
        except TriptychError as error:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}))
            return
    print(json.dumps({"provider": pipe.device.provider, "warnings": [str(each.message) for each in warned]}))


if __name__ == "__main__":
    main()
