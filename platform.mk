# SPDX-License-Identifier: MIT
# platform.mk: every compiler, instruction-set, port and link flag. The Makefile holds targets only.
#
# Variables a user sets: CC, PORT, VARIANT, SAN, CROSS, CFLAGS and LDFLAGS (added behind all others), AR, OBJDUMP.

# ---- Compiler -----------------------------------------------------------------------------------------------

ifeq ($(origin CC),default)
CC := gcc
endif
CC_KIND := $(if $(findstring clang,$(shell $(CC) --version 2>/dev/null)),clang,gcc)
CC_NAME := $(notdir $(firstword $(CC)))
CLANG ?= clang
OBJDUMP ?= objdump
NM ?= nm

# ---- What is built ------------------------------------------------------------------------------------------

PORT ?= posix
VARIANT ?= release
SAN ?=
CROSS ?=
comma := ,

# Processor families that CROSS= names, for clang and lld: core and scalar backend, no libc needed. On 32-bit x86
# arithmetic must not pass through the x87 unit.
CROSS_FLAGS_thumb := --target=thumbv7em-none-eabihf -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard
CROSS_FLAGS_arm := --target=armv7a-linux-gnueabihf -mfpu=vfpv3-d16 -mfloat-abi=hard
CROSS_FLAGS_aarch64 := --target=aarch64-linux-gnu
# Without the limit constants would lie in .sdata, which is writable.
CROSS_FLAGS_riscv64 := --target=riscv64-linux-gnu -march=rv64gc -mabi=lp64d -msmall-data-limit=0
CROSS_FLAGS_i686 := --target=i686-linux-gnu -msse2 -mfpmath=sse
CROSS_ALL := thumb arm aarch64 riscv64 i686

ifneq ($(CROSS),)
ifeq ($(filter $(CROSS),$(CROSS_ALL)),)
$(error CROSS=$(CROSS) is none of: $(CROSS_ALL))
endif
CC := $(CLANG)
CC_KIND := clang
AR := llvm-ar
CC_NAME := clang-$(CROSS)
TARGET_FLAGS := $(CROSS_FLAGS_$(CROSS))
ARCH := $(CROSS)
else
TARGET_FLAGS :=
ARCH := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
endif

# ---- Dialect and warnings -----------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wdouble-promotion -Wvla -Walloca \
            -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Werror
WARNINGS_gcc := -Wcast-align=strict
WARNINGS_clang := -Wcast-align
WARNINGS += $(WARNINGS_$(CC_KIND))

# At -O1 gcc follows values less far and sees uninitialised variables and short buffers that are none; release
# builds keep both warnings.
ifeq ($(VARIANT)-$(CC_KIND),debug-gcc)
WARNINGS += -Wno-maybe-uninitialized -Wno-format-truncation
endif

# One order of operations, so one set of bits: no contraction, no fast-math, sqrt without errno.
NUMERIC := -ffp-contract=off -fno-math-errno

OPT_release := -O2 -DNDEBUG
OPT_size := -Os -DNDEBUG
OPT_debug := -O1 -g -DQ_DEBUG
# For tests on this machine: where its processor has fma, they need not be computed by hand (the bits are the same).
OPT_double := -O2 -DNDEBUG -DQ_REAL_DOUBLE $(if $(CROSS),,$(shell grep -qsw fma /proc/cpuinfo && echo -mfma))
# clang counts regions and branches of the source; little is inlined, so that each is counted where it stands.
COVERAGE_FLAGS := -fprofile-instr-generate -fcoverage-mapping
OPT_coverage := -O1 -DNDEBUG $(COVERAGE_FLAGS)
ifeq ($(OPT_$(VARIANT)),)
$(error VARIANT=$(VARIANT) is none of: release size debug double coverage)
endif

ifneq ($(SAN),)
SAN_FLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer -g
VARIANT_NAME := $(VARIANT)-$(subst $(comma),-,$(SAN))
else
SAN_FLAGS :=
VARIANT_NAME := $(VARIANT)
endif

BASE_FLAGS = $(TARGET_FLAGS) -std=c11 $(OPT_$(VARIANT)) $(SAN_FLAGS) $(NUMERIC) $(WARNINGS)

# Core and backends: no libc, position-independent, no hidden calls of the compiler's protectors.
FREE_FLAGS = $(BASE_FLAGS) -ffreestanding -fPIE -fno-stack-protector -Iinclude

# Programs and ports on a host with a libc.
HOST_FLAGS = $(BASE_FLAGS) -fPIE -pthread -Iinclude
HOST_LDFLAGS = $(SAN_FLAGS) $(if $(filter coverage,$(VARIANT)),$(COVERAGE_FLAGS)) -pie -pthread

# Tests may reach into private folders; CMocka's macros do not survive -Wconversion everywhere.
TEST_FLAGS = $(HOST_FLAGS) -I.

# ---- Instruction sets: only for files of backends/<isa>/ -----------------------------------------------------

ISA_FLAGS_avx2 := -mavx2 -mfma -mf16c
# backends/avx2/*_vnni.c, for processors with AVX-VNNI.
ISA_FLAGS_avx2vnni := $(ISA_FLAGS_avx2) -mavxvnni
ISA_FLAGS_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c
ISA_BACKENDS_x86_64 := avx2 avx512
ISA_BACKENDS := $(if $(filter double,$(VARIANT)),,$(ISA_BACKENDS_$(ARCH)))

# ---- core/base/mem.c, linked only where there is no libc ----------------------------------------------------

# Loops stay loops: no compiler may see memset in memset. On x86 no vector registers: boot code calls it.
MEM_FLAGS_gcc := -fno-builtin -fno-tree-loop-distribute-patterns
MEM_FLAGS_clang := -fno-builtin
MEM_FLAGS := $(MEM_FLAGS_$(CC_KIND)) $(if $(filter x86_64,$(ARCH)),-mgeneral-regs-only)

# ---- Ports --------------------------------------------------------------------------------------------------

PORT_LIBS_posix := -pthread

ifneq ($(wildcard port/bare-x86/port.mk),)
include port/bare-x86/port.mk
endif

BARE_WARNINGS := $(WARNINGS) -ffp-contract=off
