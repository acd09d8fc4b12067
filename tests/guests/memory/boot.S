/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Brings every CPU from the firmware's state to C code in 64-bit mode.
 *
 * The boot CPU starts by PVH (QEMU's -kernel with an ELF file that has the note below; works with SeaBIOS on q35 and
 * pc, and with qboot on microvm): 32-bit protected mode, paging off, ebx = struct hvm_start_info. The others start by
 * SIPI in real mode, in a copy of ap_trampoline at AP_TRAMPOLINE. All share one page table that maps the first
 * MAPPED_GIB of memory one to one.
 */
#include "layout.h"

#define CR0_PE		0x1
#define CR0_PG		0x80000000
#define CR4_PAE		0x20
#define MSR_EFER	0xc0000080
#define EFER_LME	0x100
#define PAGE_TABLE	0x3	/* present, writable */
#define PAGE_2MIB	0x83	/* also: the entry maps a page */

#define CODE32 0x08
#define DATA   0x10

	.section .note.xen, "a", @note
	.long	4, 8, 18	/* name size, value size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.quad	boot_entry

	.text
	.code32
	.globl	boot_entry
boot_entry:
	cli
	cld
	lgdt	gdt_pointer
	ljmp	$CODE32, $1f
1:	mov	$DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%ebx, %ebp		/* the start info, kept for the C code */

	/* Page directories: MAPPED_GIB * 512 entries of 2 MiB. */
	mov	$page_directories, %edi
	xor	%ebx, %ebx		/* address, low half */
	xor	%edx, %edx		/* and high half */
	mov	$(MAPPED_GIB * 512), %ecx
1:	mov	%ebx, %eax
	or	$PAGE_2MIB, %eax
	mov	%eax, (%edi)
	mov	%edx, 4(%edi)
	add	$0x200000, %ebx
	adc	$0, %edx
	add	$8, %edi
	loop	1b

	mov	$page_directories + PAGE_TABLE, %eax
	mov	$page_pointers, %edi
	mov	$MAPPED_GIB, %ecx
1:	mov	%eax, (%edi)
	add	$0x1000, %eax
	add	$8, %edi
	loop	1b
	movl	$page_pointers + PAGE_TABLE, page_root

	mov	$boot_main, %esi
	jmp	long_mode

/* Every CPU: protected mode, flat segments; esi = where to go in 64-bit mode. */
long_mode:
	mov	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$page_root, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$EFER_LME, %eax
	wrmsr
	mov	$(CR0_PG | CR0_PE), %eax
	mov	%eax, %cr0
	ljmp	$CODE64, $1f

	.code64
1:	mov	$1, %eax		/* the CPU's number: in order of arrival */
	lock xadd %eax, cpus_arrived(%rip)
	mov	%eax, %ecx
	inc	%ecx
	shl	$STACK_SHIFT, %ecx
	lea	STACKS(%rcx), %rsp
	mov	%eax, %edi
	mov	%ebp, %ebp
	xchg	%rsi, %rbp		/* arguments: number, start info */
	call	*%rbp
1:	hlt
	jmp	1b

/* The other CPUs start here, in a copy at AP_TRAMPOLINE; cs = AP_TRAMPOLINE / 16. */
	.code16
	.globl	ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	cld
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	ap_gdt_pointer - ap_trampoline
	mov	$CR0_PE, %eax
	mov	%eax, %cr0
	ljmpl	$CODE32, $ap_protected
ap_gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_trampoline_end:

	.code32
ap_protected:
	mov	$DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$ap_main, %esi
	jmp	long_mode

	.code64
	/* The timer's interrupt only has to end a hlt. */
	.globl	timer_entry
timer_entry:
	push	%rax
	mov	$APIC_EOI, %eax
	movl	$0, (%rax)
	pop	%rax
	iretq

	.data
	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff	/* 32-bit code */
	.quad	0x00cf93000000ffff	/* data */
	.quad	0x00af9b000000ffff	/* 64-bit code */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
	.balign	4
	.globl	cpus_arrived
cpus_arrived:
	.long	0

	.bss
	.balign	4096
page_root:
	.skip	4096
page_pointers:
	.skip	4096
page_directories:
	.skip	MAPPED_GIB * 4096

	.section .note.GNU-stack, "", @progbits
