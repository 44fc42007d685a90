# warpscope. `make` alone lists the targets. build, run and test need Go, gcc and make, nothing else.

GO      ?= go
ifeq ($(origin CC),default)
CC      := gcc
endif
comma   := ,
# V=1 prints the compiler's command lines.
Q       := $(if $(V),,@)
say      = $(if $(V),,@printf '  %-8s %s\n' '$(1)' '$(2)')

# SAN=address,undefined or SAN=thread builds the C side (library, simulated device, C tests) with
# those sanitizers. Each variant has a build folder of its own, and only the plain one ends in bin/.
SAN     ?=
VARIANT ?= $(if $(SAN),$(subst $(comma),-,$(SAN)),plain)
B       := build/$(VARIANT)
PLAIN   := $(filter plain,$(VARIANT))

# A release sets VERSION; anything else is named after its commit.
VERSION ?= dev-$(shell git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)

# One set of flags for the library, the simulated device and the C tests. -Werror comes from
# `make check` (WERROR=-Werror): a newer compiler's new warning must not stop somebody's build.
# WS_OLD_GLIBC: see cupti/ws_compat.h.
WERROR   ?=
WARNINGS := -Wall -Wextra -Wconversion -Wshadow $(WERROR)
CFLAGS   ?= -O2 -g
WS_CFLAGS := -std=c11 -D_GNU_SOURCE= -DWS_OLD_GLIBC -fPIC -fvisibility=hidden $(WARNINGS) \
             -Icupti -Icupti/include -Icupti/preload \
             $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer,)

# What the C tests and the simulated device need on systems with glibc before 2.34. The library
# itself names neither: see cupti/ws_compat.h.
WS_LDLIBS := -ldl -lpthread

CORE_SRC    := $(wildcard cupti/*.c)
PRELOAD_SRC := $(wildcard cupti/preload/*.c)
CTEST_SRC   := $(wildcard cupti/ctest/*.c cupti/sim/ctest/*.c)
CORE_OBJ    := $(CORE_SRC:%.c=$(B)/%.o)
PRELOAD_OBJ := $(PRELOAD_SRC:%.c=$(B)/%.o)
CTESTS      := $(patsubst %.c,$(B)/ctest/%,$(notdir $(CTEST_SRC)))

LIB      := $(if $(PLAIN),bin,$(B))/libwarpscope.so
EMBEDDED := cupti/lib/libwarpscope.so
EXPORTS  := cupti/preload/exports.map
# Where the simulated libraries are built; cupti/sim/sim.mk says how.
SIM_DIR  := $(if $(PLAIN),bin,$(B))/sim

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

##@ Use

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z][a-z0-9-]*:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: lib sim bin/warpscope ## Build bin/warpscope, bin/libwarpscope.so and the simulated device

.PHONY: run
run: build ## Build, then show the main job: a real trace inspected, a live capture, what to type next
	@scripts/show.sh

##@ Test

.PHONY: test
test: build ctests ## All tests that need no GPU, no root and no network
	@scripts/test.sh

.PHONY: check
check: ## Everything else that CI runs: lint, sanitizers, race detector, fuzzing, ABI, old userland
	@scripts/check.sh

.PHONY: test-c
test-c: ctests ## The C tests alone (SAN=address,undefined or SAN=thread for sanitizers)
	@scripts/test-c.sh $(B)

.PHONY: test-race
test-race: build ## The Go tests under the race detector
	$(GO) test -race -shuffle=on ./...

.PHONY: verify
verify: build ## The bundled real traces against their independent counts
	@scripts/verify.sh

.PHONY: fuzz
fuzz: build ## Fuzz every target for FUZZTIME (default 20s)
	@scripts/fuzz.sh

.PHONY: bench
bench: build ## Go benchmarks: collect, write, read, inspect
	$(GO) test -run '^$$' -bench . -benchmem ./agent/... ./cupti/...

.PHONY: gpu-bundle
gpu-bundle: build ## Everything that the GPU tests need on a machine without Go, into dist/gpu
	@scripts/gpu-bundle.sh

##@ Change

.PHONY: fmt
fmt: ## Format Go and C sources
	@scripts/fmt.sh

.PHONY: lint
lint: build ## The linters of `make check` alone
	@scripts/check.sh lint

.PHONY: generate
generate: ## Write generated files anew: protobuf code, the Go mirror of the shared-memory ABI
	@scripts/generate.sh

.PHONY: kernels
kernels: ## Compile the CUDA kernels anew (pinned compiler, needs python3 and a package index the first time)
	@if [ -f kernels/Makefile ]; then $(MAKE) -C kernels; else echo "no kernels to compile" >&2; fi

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf bin build dist $(EMBEDDED)

# ---- the capture library -----------------------------------------------------------------

.PHONY: lib
lib: $(LIB) $(if $(PLAIN),$(EMBEDDED))

# -z nodelete: a program that closes the library must not take the code from under its worker thread.
$(LIB): $(CORE_OBJ) $(PRELOAD_OBJ) $(EXPORTS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(if $(SAN),-fsanitize=$(SAN),-Wl$(comma)-z$(comma)defs) -Wl,-soname,libwarpscope.so \
	  -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete -Wl,--version-script=$(EXPORTS) \
	  -o $@ $(CORE_OBJ) $(PRELOAD_OBJ) $(LDFLAGS)

# The copy that the agent embeds carries no debug information. It is put in place whole.
$(EMBEDDED): bin/libwarpscope.so
	@mkdir -p $(@D)
	$(Q)strip --strip-debug -o $(B)/embedded.so $<
	$(Q)mv $(B)/embedded.so $@

$(B)/cupti/%.o: cupti/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(WS_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(CORE_OBJ:.o=.d) $(PRELOAD_OBJ:.o=.d)

# ---- the simulated device ----------------------------------------------------------------

.PHONY: sim
-include cupti/sim/sim.mk

# ---- C tests -----------------------------------------------------------------------------

.PHONY: ctests
ctests: sim $(CTESTS)

vpath %.c cupti/ctest cupti/sim/ctest

$(B)/ctest/%: %.c $(CORE_OBJ) Makefile
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(WS_CFLAGS) $(CFLAGS) -MMD -MP -o $@ $< $(CORE_OBJ) $(WS_LDLIBS) -lm

-include $(addsuffix .d,$(CTESTS))

# ---- the agent ---------------------------------------------------------------------------

.PHONY: bin/warpscope
bin/warpscope: $(EMBEDDED)
	$(call say,GO,$@)
	$(Q)$(GO) build -trimpath -ldflags '-X github.com/warpscope/warpscope/agent/version.version=$(VERSION)' -o $@ ./agent/cmd/warpscope
