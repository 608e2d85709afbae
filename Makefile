# The two commands are `make demo` and `make test`; everything else is set up by them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
COMPAT := $(VENV)-transformers4
RUNTIME := $(VENV)-runtime
STANDIN := $(VENV)-standin
RELEASE := $(VENV)-release
DOCS := $(VENV)-docs
DEMO := $(VENV)-demo

PROMPTS := "red heart" "green heart on a pink background" "grinning face" "strawberry on a blue background" \
	"fox" "penguin on a purple background" "flower" "car"

EMOJI_CALIBRATION := --calibration-prompts models/emoji/evaluation/prompts.txt --calibration-guidance 2.5

.PHONY: demo train-demo score-demo test test-all test-runtime coverage test-compat test-standin lint page-lint types docs site release clean

# Exports the demo checkpoint, generates a grid of images and prints the latency of each component. Its environment has
# what these take, and the service; the rest of triptych[dev] is not needed.
demo: $(DEMO)/.ready
	$(DEMO)/bin/triptych export models/emoji models/emoji-package --force
	rm -rf out/demo
	$(DEMO)/bin/triptych generate models/emoji-package $(PROMPTS) --num 4 --seed 0 --out out/demo --grid
	$(DEMO)/bin/triptych bench models/emoji-package --json out/demo/bench.json --plot out/demo/bench.png
	@echo
	@echo "Made: models/emoji-package (the package), out/demo (32 images, grid.png, bench.json, bench.png)"
	@echo "Next:"
	@echo "  $(DEMO)/bin/triptych generate models/emoji-package \"owl on a green background\" --out out"
	@echo "  $(DEMO)/bin/triptych inspect models/emoji-package --verify"
	@echo "  $(DEMO)/bin/triptych serve models/emoji-package --ui"

# Trains the demo checkpoint again, which takes hours (it resumes after an interruption), and scores the checkpoint and
# its ONNX packages. The training images are drawn from a font: apt-get install fonts-noto-color-emoji
train-demo: $(VENV)/.ready
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[train]'
	$(BIN)/python models/emoji/train/run.py
	$(MAKE) score-demo

score-demo: $(VENV)/.ready
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[train]'
	$(BIN)/python models/emoji/train/evaluate.py models/emoji \
		--json models/emoji/evaluation/checkpoint.json --sheet out/names.png
	$(BIN)/triptych export models/emoji out/emoji-fp32 --force
	$(BIN)/triptych export models/emoji out/emoji-fp16 --precision fp16 --force
	$(BIN)/triptych export models/emoji out/emoji-int8 --precision int8 $(EMOJI_CALIBRATION) --force
	for precision in fp32 fp16 int8; do \
		$(BIN)/python models/emoji/train/evaluate.py out/emoji-$$precision --record \
			--json models/emoji/evaluation/onnx-$$precision.json || exit 1; \
	done
	$(BIN)/python models/emoji/train/card.py

# Two processes, each with whole files of tests and one thread.
test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --durations 25

# The slow extras too.
test-all: $(VENV)/.ready
	$(BIN)/python -m pytest

# The runtime's tests in an environment without PyTorch, with the floor of coverage that pyproject.toml states. What needs
# more than triptych[test-runtime] is skipped.
test-runtime: $(RUNTIME)/.ready
	OMP_NUM_THREADS=1 $(RUNTIME)/bin/python -m pytest -m "not slow" -n 2 --dist loadfile --cov --cov-report=term \
		tests/runtime tests/replay tests/test_architecture.py

# The lines that test-runtime leaves out.
coverage: test-runtime
	$(RUNTIME)/bin/coverage report --show-missing

# Export and tokenizer tests with the oldest transformers and diffusers that are supported.
test-compat: $(COMPAT)/.ready
	OMP_NUM_THREADS=1 $(COMPAT)/bin/python -m pytest -m "not slow" -n 2 --dist loadfile tests/export tests/parity/text/test_clip.py \
		tests/parity/text/test_wordpiece.py tests/parity/text/test_t5.py tests/parity/text/test_qwen.py

# CUDA without a GPU, see tests/standin; the tests make $(STANDIN).
test-standin: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/standin --durations 10

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Types (TypeScript over JSDoc) and lint of the page. Its tools are from npm; the page needs none of them.
page-lint: node_modules/.ready
	npm run --silent check

# mypy finds packages by folder: the links give it the import names (see [tool.setuptools.package-dir]).
types: $(VENV)/.ready
	mkdir -p build/typing/triptych
	for name in runtime export benchmarks; do ln -sfn ../../../$$name build/typing/triptych/$$name; done
	MYPYPATH=build/typing $(BIN)/mypy -p triptych.runtime -p triptych.export -p triptych.benchmarks
	MYPYPATH=build/typing $(BIN)/mypy tests docs tools examples models/emoji/train

node_modules/.ready: package.json package-lock.json
	npm ci --silent --no-audit --no-fund
	touch $@

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	touch $@

# Python compiles the modules that the demo imports; pip would compile all of PyTorch, for most of its time.
$(DEMO)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install --disable-pip-version-check -q --no-compile -c constraints.txt -e '.[cpu,export,bench,serve]'
	touch $@

$(RUNTIME)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/pip install --disable-pip-version-check -q -c constraints.txt -e '.[hub,test-runtime]'
	touch $@

$(COMPAT)/.ready: pyproject.toml constraints.txt constraints-transformers4.txt
	$(PYTHON) -m venv $(COMPAT)
	$(COMPAT)/bin/pip install --disable-pip-version-check -q -c constraints-transformers4.txt -e '.[test]'
	touch $@

# Regenerates what is generated from code; a test fails when it is stale.
docs: $(VENV)/.ready
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/reference.py
	$(BIN)/python -m triptych.benchmarks.recorded.peers_page
	$(BIN)/python benchmarks/recorded/report.py
	$(BIN)/python benchmarks/recorded/readme.py

# The documentation site, in build/site; warnings are errors.
site: $(DOCS)/.ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet

$(DOCS)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --disable-pip-version-check -q -c constraints.txt -e '.[docs]'
	touch $@

# Builds and checks what is uploaded, for the tag of the version in pyproject.toml: docs/releasing.md
release: $(RELEASE)/.ready
	$(RELEASE)/bin/python tools/release.py

$(RELEASE)/.ready:
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install --disable-pip-version-check -q 'build>=1.2' 'twine>=6.1'
	touch $@

clean:
	rm -rf $(VENV) $(COMPAT) $(RUNTIME) $(STANDIN) $(DEMO) $(DOCS) $(RELEASE) build out .coverage
