# SPDX-License-Identifier: MIT
# port.mk: sources and flags of the bare x86 port, for inclusion from the top of the tree.
#
# Link an image from the ordinary objects of the core and the backends, the objects of these sources
# and one that defines q_bare_main():  $(CC) $(BARE_LDFLAGS) -o IMAGE OBJECTS
# Ordinary objects need no flag of their own: -fPIC, -fPIE, -fno-pic and the red zone are all fine.
# They may not use the stack protector: there is no thread-local storage.

BARE_DIR := port/bare-x86
BARE_SRC := $(addprefix $(BARE_DIR)/,acpi.c apic.c args.c boot.c cpu.c memory.c paging.c port.c \
                                     serial.c smp.c time.c trap.c) port/x86/cpu_detect.c
# For images that call q_bare_disk_files().
BARE_DISK_SRC := $(BARE_DIR)/disk.c
BARE_ASM := $(BARE_DIR)/boot.S
BARE_HDR := $(BARE_DIR)/bare.h $(BARE_DIR)/internal.h port/x86/cpu_detect.h
BARE_LDS := $(BARE_DIR)/image.ld

# For BARE_SRC only: some of it runs in ring 0, before vector registers may be used.
BARE_CFLAGS := -std=c11 -O2 -ffreestanding -fno-pic -fno-pie -fno-stack-protector \
               -fcf-protection=none -mno-red-zone -mgeneral-regs-only \
               -fno-asynchronous-unwind-tables
BARE_LDFLAGS := -nostdlib -static -Wl,-T,$(BARE_LDS) -Wl,--build-id=none \
                -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack
