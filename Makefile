# The front door.  Each target installs the Debian packages it needs (scripts/bootstrap), builds with Meson, and does its work.
#
#   make CC=clang B=build-clang      another compiler, in a directory of its own
#   make test T='ring floors'        only tests whose name contains one of these words

B ?= build
T ?=
ARGS ?=
SECONDS ?= 60
PREFIX ?= /usr/local
ifneq ($(origin CC),default)
export CC
endif
need = @scripts/bootstrap
build = scripts/build $(B)

.PHONY: all build run shell test bench fuzz soak requirements install clean help

all: build

build:
	$(need) build
	@$(build)

run: ## Linux boots in QEMU and in user mode with nine devices that vio serves, uses them, and both sides are checked
	$(need) build run
	@$(build)
	@tests/guest/run $(B) $(ARGS)

shell: ## the guest of "make run", with a prompt
	$(need) build run
	@$(build)
	@tests/guest/run --shell $(B) $(ARGS)

test: ## every test; the last line counts them
	$(need) build test
	@tests/run --build=$(B) $(T)

bench: ## the figures of docs/performance.md, measured on this machine
	$(need) build bench
	@$(build)
	@bench/run $(B) $(ARGS)

fuzz: ## each fuzz target for SECONDS (60)
	$(need) build fuzz
	@fuzz/run --seconds=$(SECONDS) $(T)

soak: ## two processes over one ring, for long
	$(need) build test
	@$(build)
	@tests/soak $(B) $(ARGS)

requirements: ## which sentences of the specification are covered by the tests that passed last, and who drove them
	$(need) build
	@test -d $(B)/tap || $(MAKE) --no-print-directory test T=
	@tests/requirements/report $(B)/tap $(ARGS)

install: ## program, library, headers, manual pages to PREFIX (/usr/local); DESTDIR is honoured
	$(need) build
	@$(build)
	@meson configure $(B) -Dprefix=$(PREFIX) && meson install --quiet -C $(B)

clean: ## remove what was built
	@rm -rf $(B) build build-asan build-tsan build-fuzz build-arm64

help: ## this list
	@echo "  make               build the program and the library into $(B)/"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
