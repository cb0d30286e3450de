# surprisal: `make` builds build/surprisal, build/libsurprisal.a and build/libsurprisal.so, `make demo`
# runs the main job on the demo checkpoints, `make demo-formats` ranks six formats of one, `make test`
# runs all tests.  Variables: V=1 (prints whole commands), PREFIX=, DESTDIR=, SANITIZE=1
# (AddressSanitizer and UBSan, in build-sanitize/), SANITIZE=thread (ThreadSanitizer, in build-thread/:
# tests of threads that share a model), MPI= (openmpi, mpich or none; default: each one that is there), CC=,
# and two ways to test kernels that this CPU cannot run: CROSS=aarch64-linux-gnu (Debian's cross compiler,
# tests under qemu-user) and EMULATE=1 (x86 intrinsics as plain C), each in a build folder of its own.

MAKEFLAGS += --no-builtin-rules
VERSION := 0.2.0
PREFIX  ?= /usr/local
BUILD   := build$(if $(CROSS),-$(CROSS))$(if $(EMULATE),-emulated)$(if \
           $(SANITIZE),-$(if $(filter thread,$(SANITIZE)),thread,sanitize))
TOOL    := $(if $(CROSS),$(CROSS)-)
SYSROOT := $(if $(CROSS),$(BUILD)/sysroot)
ifdef CROSS
CC      := $(CROSS)-gcc
endif

# $(call say,WHAT,FILE) in front of $(Q)COMMAND: a short line instead of the command.
Q   := $(if $(filter-out 0,$(V)),,@)
say  = $(if $(Q),@printf '  %-7s %s\n' $(1) $(2))

PACKAGES := libcjson libpcre2-8 libutf8proc libcrypto openblas libmicrohttpd
# Compiled against, and loaded by `serve` (src/server/http_library.h), not linked.
LOADED   := libmicrohttpd
# The Debian packages that bring the compiler and the libraries; see docs/install.md.
LIBRARY_PACKAGES := libc6-dev libcjson-dev libpcre2-dev libutf8proc-dev libssl-dev libopenblas-dev libmicrohttpd-dev
DEBIAN_PACKAGES  := gcc binutils make pkg-config python3 python3-numpy \
                    $(if $(CROSS),gcc-$(CROSS) qemu-user-static,gnuplot-nox $(LIBRARY_PACKAGES)) \
                    $(if $(EMULATE),libsimde-dev)

PKG_CONFIG = $(if $(CROSS),PKG_CONFIG_SYSROOT_DIR=$(SYSROOT) \
                 PKG_CONFIG_LIBDIR=$(SYSROOT)/usr/lib/$(CROSS)/pkgconfig) pkg-config
PACKAGE_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(PACKAGES))
PACKAGE_LIBS   = $(shell $(PKG_CONFIG) --libs $(filter-out $(LOADED),$(PACKAGES)))

CFLAGS   ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE -DSURPRISAL_VERSION='"$(VERSION)"' -Isrc -Iinclude -I. -I$(BUILD) -MMD -MP
# Hidden by default: only what surprisal.h marks leaves the library.  No contraction: a sum is
# rounded where the source says so, on every CPU.  -fPIC, after what CFLAGS may say: the same objects
# make the static and the shared library.
ALL_CFLAGS = -std=c11 -Wall -Wextra -Wshadow -Wconversion -fopenmp -fvisibility=hidden \
             -ffp-contract=off $(SYSROOT_FLAGS) $(PACKAGE_CFLAGS) $(CFLAGS) $(SANITIZE_FLAGS) -fPIC
LDLIBS     = $(SYSROOT_FLAGS) $(PACKAGE_LIBS) -lm -fopenmp $(SANITIZE_FLAGS)
SYSROOT_FLAGS := $(if $(SYSROOT),--sysroot=$(SYSROOT))
comma := ,
SANITIZE_FLAGS := $(if $(SANITIZE),-fno-omit-frame-pointer $(if $(filter thread,$(SANITIZE)), \
                      -fsanitize=thread, \
                      -fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined))

LIBRARY_SOURCES := $(wildcard src/base/*.c src/formats/*.c src/tokenizer/*.c src/kernels/*.c \
                     src/model/*.c src/engine/*.c src/decode/*.c src/generate/*.c src/bench/*.c \
                     src/convert/*.c src/verify/*.c src/chat/*.c src/grammar/*.c src/server/*.c \
                     src/api/*.c eval/*/*.c)
# Instruction sets of other processors stay out.  The row kernels are compiled twice for each.
TARGET   := $(or $(CROSS),$(shell $(CC) -dumpmachine 2>/dev/null || uname -m))
X86_64   := $(findstring x86_64,$(TARGET))
ROW_SETS := scalar baseline $(if $(X86_64),avx2 avx512)
ROW_SETS := $(ROW_SETS) $(ROW_SETS:%=%_bf16)
BLOCK_SETS := baseline $(if $(X86_64),avx2 avx512)
OTHERS   := src/kernels/rows.c src/kernels/scalar_rows.c src/kernels/mxfp4_blocks.c $(if $(X86_64),,src/kernels/avx%.c) \
            $(if $(findstring aarch64,$(TARGET)),,src/kernels/neon%.c)
LIBRARY_SOURCES := $(filter-out $(OTHERS),$(LIBRARY_SOURCES))
ifdef EMULATE
LIBRARY_SOURCES := $(patsubst src/kernels/cpu.c,tests/emulated/cpu.c,$(LIBRARY_SOURCES))
endif
CLI_SOURCES     := $(wildcard src/cli/*.c) $(filter-out src/cluster/mpi_library.c,$(wildcard src/cluster/*.c))
# The MPIs whose ranks the program can serve.  It is compiled against their headers, and loads the library of
# the launcher (src/cluster/mpi_library.h); none is needed to build.
MPI      := openmpi mpich
MPI_PACKAGE_openmpi := ompi-c
MPI_PACKAGE_mpich   := mpich
MPIS     := $(foreach m,$(filter openmpi mpich,$(MPI)), \
                $(if $(shell $(PKG_CONFIG) --exists $(MPI_PACKAGE_$(m)) 2>/dev/null && echo yes),$(m)))
TEST_SOURCES    := $(wildcard tests/unit/*/test_*.c)
HOST_SOURCES    := $(wildcard tests/faults/*_host.c)

object = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIBRARY_OBJECTS := $(call object,$(LIBRARY_SOURCES)) $(ROW_SETS:%=$(BUILD)/src/kernels/rows_%.o) \
                   $(BLOCK_SETS:%=$(BUILD)/src/kernels/mxfp4_blocks_%.o)
CLI_OBJECTS     := $(call object,$(CLI_SOURCES)) $(MPIS:%=$(BUILD)/src/cluster/mpi_library_%.o)
TEST_PROGRAMS   := $(patsubst %.c,$(BUILD)/%,$(TEST_SOURCES) $(HOST_SOURCES))

all: $(BUILD)/surprisal $(BUILD)/libsurprisal.a $(BUILD)/libsurprisal.so $(BUILD)/surprisal.pc

# One relocatable object in which only the public symbols remain, so that the library keeps its
# internals to itself and the program, linked against it, has no other way in than surprisal.h.  -d: OpenMP's
# locks get their place here, and can be kept back too.
$(BUILD)/libsurprisal.a: $(LIBRARY_OBJECTS)
	$(call say,AR,$@)
	$(Q)$(TOOL)ld -r -d -o $(BUILD)/libsurprisal.o $^
	$(Q)$(TOOL)objcopy --wildcard --keep-global-symbol='surprisal_*' $(BUILD)/libsurprisal.o
	@rm -f $@
	$(Q)$(TOOL)ar rcs $@ $(BUILD)/libsurprisal.o

# The same objects.  With every library named that it needs; those of clang's sanitizers come with the program.
SHARED := libsurprisal.so.$(VERSION)
SONAME := libsurprisal.so.$(firstword $(subst ., ,$(VERSION)))
$(BUILD)/$(SHARED): $(LIBRARY_OBJECTS) src/surprisal.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=src/surprisal.map \
	    $(if $(SANITIZE),,-Wl$(comma)-z$(comma)defs) -o $@ $(LIBRARY_OBJECTS) $(LDLIBS)

$(BUILD)/libsurprisal.so: $(BUILD)/$(SHARED)
	@ln -sf $(SHARED) $(BUILD)/$(SONAME)
	@ln -sf $(SHARED) $@

$(BUILD)/surprisal: $(CLI_OBJECTS) $(BUILD)/libsurprisal.a $(BUILD)/mpis
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(LDLIBS)

# Changes when other MPIs are there, or chosen: then the program is linked again.
$(BUILD)/mpis: FORCE
	@mkdir -p $(@D)
	@echo '$(MPIS)' | cmp -s - $@ || echo '$(MPIS)' > $@

$(BUILD)/src/cluster/mpi_library_%.o: src/cluster/mpi_library.c Makefile | packages
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) \
	    $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags $(MPI_PACKAGE_$*))) -DMPI_LIBRARY=mpi_library_$* -c -o $@ $<

$(BUILD)/%.o: %.c Makefile | packages
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(KERNEL_CFLAGS) -c -o $@ $<

# A text file that the program carries: FILE becomes FILE.h, a string literal, a line for a line.
$(BUILD)/%.h: %
	@mkdir -p $(@D)
	$(call say,SED,$@)
	$(Q)sed -e 's/[\\"]/\\&/g' -e 's/.*/"&\\n"/' $< > $@
$(BUILD)/eval/report/html.o: $(BUILD)/eval/report/html.css.h
$(BUILD)/src/server/page.o: $(BUILD)/src/server/page.html.h

# Kernels: vectorised by the compiler where that cannot change a result; files of an instruction
# set get its flags, and run only where kernels.c found it.
# Under AddressSanitizer the scopes of their locals are not watched: it would keep the sums of a tile
# in memory, three times slower.
$(BUILD)/src/kernels/%.o: KERNEL_CFLAGS = -O3 -fno-math-errno -fno-trapping-math $(ISA_CFLAGS) \
    $(if $(SANITIZE),-fno-sanitize-address-use-after-scope)
ifdef EMULATE
$(BUILD)/src/kernels/avx%.o: ISA_CFLAGS = -Itests/emulated -Wno-psabi
else
$(BUILD)/src/kernels/avx2.o $(BUILD)/src/kernels/avx2_dots.o $(BUILD)/src/kernels/rows_avx2.o $(BUILD)/src/kernels/rows_avx2_bf16.o \
    $(BUILD)/src/kernels/mxfp4_blocks_avx2.o: ISA_CFLAGS = -mavx2 -mfma
$(BUILD)/src/kernels/avx512bf16.o $(BUILD)/src/kernels/avx512bf16_dots.o: \
    ISA_CFLAGS = -mavx512f -mavx512dq -mavx512bw -mavx512bf16 -mfma
$(BUILD)/src/kernels/avx512.o $(BUILD)/src/kernels/avx512_dots.o $(BUILD)/src/kernels/rows_avx512.o $(BUILD)/src/kernels/rows_avx512_bf16.o \
    $(BUILD)/src/kernels/mxfp4_blocks_avx512.o: ISA_CFLAGS = -mavx512f -mavx512dq -mavx512bw -mfma -mprefer-vector-width=512
endif
row_flags = -DROW_KERNELS=row_kernels_$(1) $(if $(findstring bf16,$(1)),-DROUND_BF16)
$(BUILD)/src/kernels/rows_scalar.o $(BUILD)/src/kernels/rows_scalar_bf16.o: \
    $(BUILD)/src/kernels/rows_%.o: src/kernels/scalar_rows.c Makefile | packages
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(KERNEL_CFLAGS) $(call row_flags,$*) -c -o $@ $<
$(BUILD)/src/kernels/rows_%.o: src/kernels/rows.c Makefile | packages
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(KERNEL_CFLAGS) $(call row_flags,$*) -c -o $@ $<
$(BUILD)/src/kernels/mxfp4_blocks_%.o: src/kernels/mxfp4_blocks.c Makefile | packages
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(KERNEL_CFLAGS) -DMXFP4_BLOCKS=mxfp4_blocks_$* -c -o $@ $<

# Unit tests see the internals: they link what they need of the objects, not the library.  The archive names
# the objects' files only (T).
$(BUILD)/tests/objects.a: $(LIBRARY_OBJECTS)
	@mkdir -p $(@D)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(TOOL)ar rcsT $@ $^

# GCC 12 for ARM breaks off (an internal error) where it vectorises a loop of test_moe.c.
$(BUILD)/tests/unit/%.o: KERNEL_CFLAGS = -fno-tree-vectorize
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/tests/objects.a
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ $(LDLIBS)

# What the program has beside the library.
$(BUILD)/tests/unit/cli/test_pace: $(BUILD)/src/cli/pace.o

# Programs of the scripts in tests/faults: they use the library as anybody's program does.
$(BUILD)/tests/faults/%: $(BUILD)/tests/faults/%.o $(BUILD)/libsurprisal.a
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $^ $(LDLIBS)

# A word of the shell: what a user may give has blanks, quotes, anything.
quoted = '$(subst ','\'',$(1))'

# What a program needs that links the static library, as the compiler found it here.  No "Requires.private":
# `pkg-config --static` would add what only static dependencies need, some of which Debian does not have.  clang finds
# its OpenMP by -fopenmp alone.
STATIC_LIBS = $(subst $(SYSROOT),,$(PACKAGE_LIBS)) \
              $(if $(findstring clang,$(shell $(CC) --version 2>/dev/null)),-fopenmp,-lgomp) -lm
PC_FILE     = tools/pc-file $(call quoted,$(PREFIX)) '$(VERSION)' $(call quoted,$(STATIC_LIBS)) < src/surprisal.pc.in

$(BUILD)/surprisal.pc: src/surprisal.pc.in tools/pc-file Makefile
	@mkdir -p $(@D)
	$(call say,PC,$@)
	$(Q)$(PC_FILE) > $@

# ---- what a user types -------------------------------------------------------

# Installs missing Debian packages; silent when nothing is missing.  A compiler and libraries from
# elsewhere will do.
packages:
	@CC=$(call quoted,$(CC)) MODULES='$(if $(CROSS)$(EMULATE),,$(PACKAGES))' tools/install-packages $(DEBIAN_PACKAGES)
	@$(if $(CROSS),tools/cross-sysroot $(SYSROOT) $(CROSS) $(LIBRARY_PACKAGES) libgomp1)

demo: all
	@tools/demo $(BUILD)/surprisal $(BUILD)/demo-report.html

demo-formats: all
	@tools/demo-formats $(BUILD)/surprisal $(BUILD)/demo-formats.html

# On an emulated CPU, a hundred times slower, what depends on the kernels or the architecture.
ifneq ($(CROSS)$(EMULATE),)
TESTS = $(if $(CROSS),$(filter-out %/engine,$(wildcard tests/unit/*)) tests/cli, \
            tests/unit/kernels tests/unit/model) \
        tests/conformance/test_fixtures.py tests/conformance/test_goldens.py
endif
# ThreadSanitizer does not know libgomp's barriers: what computes with one thread a call.
ifeq ($(SANITIZE),thread)
TESTS = tests/unit/api tests/unit/decode/test_scheduler_storm
endif
QUICK  = $(if $(CROSS)$(EMULATE),SURPRISAL_TEST_QUICK=2,$(if $(SANITIZE),SURPRISAL_TEST_QUICK=1))
RUNNER = $(if $(CROSS),SURPRISAL_RUNNER="qemu-$(firstword $(subst -, ,$(CROSS)))-static -L $(CURDIR)/$(SYSROOT)")

test: all $(TEST_PROGRAMS)
	@$(QUICK) $(RUNNER) tests/run $(BUILD) $(TESTS)

# The machine's limits and the kernels' shares of them, then other programs beside this one.
bench: all
	@tests/bench/run $(BUILD)/surprisal

INSTALLED = $(call quoted,$(DESTDIR)$(PREFIX))

install: all
	$(call say,INSTALL,$(INSTALLED)/bin/surprisal)
	$(Q)install -D -m 755 $(BUILD)/surprisal $(INSTALLED)/bin/surprisal
	$(call say,INSTALL,$(INSTALLED)/lib/libsurprisal.a)
	$(Q)install -D -m 644 $(BUILD)/libsurprisal.a $(INSTALLED)/lib/libsurprisal.a
	$(call say,INSTALL,$(INSTALLED)/lib/$(SHARED))
	$(Q)install -D -m 755 $(BUILD)/$(SHARED) $(INSTALLED)/lib/$(SHARED)
	$(Q)ln -sf $(SHARED) $(INSTALLED)/lib/$(SONAME)
	$(Q)ln -sf $(SHARED) $(INSTALLED)/lib/libsurprisal.so
	$(call say,INSTALL,$(INSTALLED)/include/surprisal.h)
	$(Q)install -D -m 644 include/surprisal.h $(INSTALLED)/include/surprisal.h
	$(call say,INSTALL,$(INSTALLED)/lib/pkgconfig/surprisal.pc)
	$(Q)$(PC_FILE) > $(BUILD)/surprisal.pc.installed
	$(Q)install -D -m 644 $(BUILD)/surprisal.pc.installed $(INSTALLED)/lib/pkgconfig/surprisal.pc

# With the same PREFIX and DESTDIR.
uninstall:
	rm -f $(INSTALLED)/bin/surprisal $(INSTALLED)/include/surprisal.h $(INSTALLED)/lib/pkgconfig/surprisal.pc \
	    $(INSTALLED)/lib/libsurprisal.a $(INSTALLED)/lib/libsurprisal.so $(INSTALLED)/lib/$(SONAME) \
	    $(INSTALLED)/lib/$(SHARED)

clean:
	rm -rf build build-*

FORCE:
.PHONY: FORCE all packages demo demo-formats test bench install uninstall clean
.SECONDARY:
-include $(LIBRARY_OBJECTS:.o=.d) $(CLI_OBJECTS:.o=.d) $(TEST_PROGRAMS:=.d)
