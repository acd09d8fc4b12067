/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes and addresses that the assembly and the C part share. */
#ifndef LAYOUT_H
#define LAYOUT_H

#define MAX_CPUS      16
#define STACK_SHIFT   13
#define MAPPED_GIB    64	/* at most 512: one page of page-directory pointers */
#define AP_TRAMPOLINE 0x8000	/* below 1 MiB, page aligned: a SIPI names a page */
#define IDLE_START    0x200000	/* the program ends below; idle=SIZE is from here on */
#define CONSOLE_LOCK  0xeff000	/* all that the program writes for ever is from here on: in RAM behind idle=SIZE */
#define STACKS	      0xf00000	/* MAX_CPUS << STACK_SHIFT bytes */
#define WORK_START    0x1000000	/* the workload has the memory from here on */

#define CODE64	 0x18 /* segment */
#define APIC	 0xfee00000
#define APIC_EOI (APIC + 0xb0)

#endif
