/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes and addresses that the assembly and the C part share. */
#ifndef LAYOUT_H
#define LAYOUT_H

#define MAX_CPUS      16
#define STACK_SHIFT   13
#define MAPPED_GIB    64	/* at most 512: one page of page-directory pointers */
#define AP_TRAMPOLINE 0x8000	/* below 1 MiB, page aligned: a SIPI names a page */
#define WORK_START    0x1000000	/* the workload has the memory from here on; the program lies below */

#define CODE64	 0x18 /* segment */
#define APIC	 0xfee00000
#define APIC_EOI (APIC + 0xb0)

#endif
