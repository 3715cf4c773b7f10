# Everything here works on a fresh machine with Python >= 3.11 and make; each target sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt
OUT ?= demo-results
PYTEST_WORKERS ?= 2

.PHONY: demo demo-real demo-B demo-C demo-D demo-E test quick test-slow test-web test-pacs test-cluster test-oldest test-newest bench docs \
	architecture lint format clean help wheel offline sbom test-windows

help:
	@echo "make demo       the leading study on virtual patients, to the finished report in $(OUT)/"
	@echo "make demo-real  two studies of real patients, from public tables that the package holds"
	@echo "make demo-B     study B (tace-response), demo-C: study C (proliferative), demo-D: study D (early-recurrence);"
	@echo "                demo-E: study A end to end beside its two steps; small networks, on the CPU"
	@echo "make test       the tests (make test-slow: the long ones; make quick: the lowest room, without the networks)"
	@echo "make test-web   journeys of the page in Chromium"
	@echo "make test-windows: without POSIX, on a disk with the names of Windows (Debian's ntfs-3g)"
	@echo "make test-oldest, make test-newest: the tests with the oldest versions that pyproject.toml allows (Python 3.11),"
	@echo "                and the newest; without the networks"
	@echo "make test-pacs  against a real Orthanc (Debian; installs it)"
	@echo "make wheel      the wheel, in dist/; make sbom: its components with licenses; make offline: wheels and networks for"
	@echo "                computers without internet (EXTRAS=serve,sign TARGET_PLATFORM=win_amd64 TARGET_PYTHON=3.12)"
	@echo "make test-cluster  workers that are killed, a real SLURM of one node (Debian; installs it), images from S3"
	@echo "make lint       style, types, import contracts; make format tidies"
	@echo "make docs       the documentation, in site/; make architecture draws docs/architecture.svg"
	@echo "make bench      timings beside the peers"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("hepacast needs Python 3.11 or later, this is " + sys.version.split()[0] + "; use: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# A stamp a kind of installation: made again only when the project's files changed.
$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[seg]"
	@touch $@

$(VENV)/.light: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[serve,dev]"
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[seg,ml,speed,serve,pacs,cluster,oracle,dev]"
	@touch $@ $(VENV)/.run $(VENV)/.light

$(VENV)/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[docs]"
	@touch $@

demo: $(VENV)/.run
	$(BIN)/hepacast demo --out $(OUT)

demo-real: $(VENV)/.run
	$(BIN)/hepacast demo --real --out $(OUT)-real

demo-B: $(VENV)/.run
	$(BIN)/hepacast demo --study tace-response --out $(OUT)-B

demo-C: $(VENV)/.dev
	$(BIN)/hepacast demo --study proliferative --out $(OUT)-C

demo-D: $(VENV)/.dev
	$(BIN)/hepacast demo --study early-recurrence --out $(OUT)-D

demo-E: $(VENV)/.run
	$(BIN)/hepacast demo --study ptlf-end-to-end --out $(OUT)-E

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

# Without the networks: what a first change needs.
quick: $(VENV)/.light
	$(BIN)/python -m pytest tests/core tests/test_house.py

# The journeys in Debian's Chromium.
test-web: $(VENV)/.dev
	command -v chromium > /dev/null || { apt-get update -q && apt-get install -y -q chromium; }
	$(PIP) "playwright>=1.45"
	$(BIN)/python -m pytest -m web tests/web

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow --durations 20

# What Windows lacks taken away, and a disk with its rules for names (Debian's ntfs-3g; FUSE).
test-windows: $(VENV)/.dev
	command -v lowntfs-3g > /dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends ntfs-3g; }
	$(BIN)/python -m pytest tests/cli/test_other_systems.py -m "slow or not slow" --durations 5

# With Debian's Orthanc and the validators of DICOM, on loopback. RUNLEVEL=1: the package must not start its service.
PACS_PACKAGES := orthanc orthanc-dicomweb dcmtk dicom3tools
test-pacs: $(VENV)/.dev
	dpkg -s $(PACS_PACKAGES) > /dev/null 2>&1 || \
	  (apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $(PACS_PACKAGES))
	$(BIN)/python -m pytest -m pacs tests/pacs --durations 10

# Workers killed at random, Debian's SLURM on this one node (started and ended by the test; needs root), and images from
# a stand-in for S3. RUNLEVEL=1: the packages must not start their services.
CLUSTER_PACKAGES := slurm-wlm munge
test-cluster: $(VENV)/.dev
	dpkg -s $(CLUSTER_PACKAGES) > /dev/null 2>&1 || \
	  (apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $(CLUSTER_PACKAGES))
	$(PIP) "s3fs>=2025.3"
	$(BIN)/python -m pytest -m cluster tests/core/test_cluster.py tests/cluster tests/study/test_cluster_run.py tests/segmentation/test_nnunet_training.py \
	  tests/deep/test_crossfit.py --durations 10

# Both ends of what pyproject.toml allows, each in an environment of its own; networks aside.
$(VENV)-oldest/.done: pyproject.toml .ci/oldest.py
	$(PYTHON) -m venv $(VENV)-oldest
	$(PYTHON) .ci/oldest.py ml > $(VENV)-oldest/constraints.txt
	$(VENV)-oldest/bin/python -m pip install --disable-pip-version-check -q -c $(VENV)-oldest/constraints.txt -e ".[ml,serve,dev]"
	@touch $@

$(VENV)-newest/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install --disable-pip-version-check -q --upgrade -e ".[ml,serve,dev]"
	@touch $@

test-oldest test-newest: test-%: $(VENV)-%/.done
	$(VENV)-$*/bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

lint: $(VENV)/.light
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.light
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

architecture: $(VENV)/.light
	$(BIN)/python docs/draw_architecture.py

docs: $(VENV)/.docs
	$(BIN)/hepacast recipes --reference > docs/reference/study-file.md
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/radiomics.py --json benchmarks/results/radiomics.json
	$(BIN)/python benchmarks/chain.py

wheel: $(BIN)/python
	rm -rf build dist/*.whl
	$(PIP) "setuptools>=77" wheel
	$(BIN)/python -m pip wheel --disable-pip-version-check -q --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

# What a hospital installs, in an environment of its own; the tool that looks at it in another.
EXTRAS ?= serve,pacs,seg,sign
sbom: wheel
	rm -rf $(VENV)-sbom && $(PYTHON) -m venv $(VENV)-sbom/what && $(PYTHON) -m venv $(VENV)-sbom/tool
	$(VENV)-sbom/what/bin/python -m pip install --disable-pip-version-check -q -c constraints.txt "$$(ls dist/*.whl)[$(EXTRAS)]"
	$(VENV)-sbom/tool/bin/python -m pip install --disable-pip-version-check -q "cyclonedx-bom>=7"
	$(BIN)/python .ci/sbom.py $(VENV)-sbom/tool/bin/cyclonedx-py $(VENV)-sbom/what/bin/python dist

TARGET_PYTHON ?= $(shell $(BIN)/python -c "import sys; print('%d.%d' % sys.version_info[:2])")
offline: wheel
	$(PIP) -e .
	$(BIN)/python .ci/offline.py dist/*.whl dist $(wildcard dist/sbom.cdx.json dist/NOTICES.txt) --extras $(EXTRAS) \
	  --python $(TARGET_PYTHON) --platform "$(TARGET_PLATFORM)" --constraints constraints.txt

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest $(VENV)-sbom site build dist .pytest_cache .mypy_cache .ruff_cache
