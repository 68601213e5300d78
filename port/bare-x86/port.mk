# SPDX-License-Identifier: MIT
# port.mk: sources and flags of the bare x86 port, for inclusion from the top of the tree.
#
# Link an image from the core's and the backends' ordinary objects, these sources, and an object that defines
# q_bare_main():  $(CC) $(BARE_LDFLAGS) -o IMAGE OBJECTS
# The core's objects need no flag of their own: -fPIC, -fPIE, frame pointers and the red zone are all fine.
# They may not use the stack protector (no thread-local storage is set up).

BARE_DIR := port/bare-x86
BARE_SRC := $(addprefix $(BARE_DIR)/,acpi.c apic.c args.c boot.c cpu.c memory.c paging.c port.c serial.c \
                                     smp.c time.c trap.c) port/x86/cpu_detect.c
BARE_ASM := $(BARE_DIR)/boot.S
BARE_HDR := $(BARE_DIR)/bare.h $(BARE_DIR)/internal.h port/x86/cpu_detect.h
BARE_LDS := $(BARE_DIR)/image.ld

# For BARE_SRC only. Interrupts arrive only inside these files, so only they need to leave out the red zone;
# without vector registers they run before those are switched on.
BARE_CFLAGS := -std=c11 -O2 -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
               -mno-red-zone -mgeneral-regs-only -fno-asynchronous-unwind-tables
BARE_LDFLAGS := -nostdlib -static -Wl,-T,$(BARE_LDS) -Wl,--build-id=none \
                -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack
