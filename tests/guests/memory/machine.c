// SPDX-License-Identifier: GPL-2.0-or-later
#include "machine.h"

#include "layout.h"

#include <stdarg.h>

#define COM1 0x3f8
#define COM2 0x2f8
#define LINE_STATUS 5
#define TRANSMIT_EMPTY 0x20

#define PIC1_MASK 0x21
#define PIC2_MASK 0xa1

#define FW_CFG_SELECT 0x510
#define FW_CFG_DATA 0x511
#define FW_CFG_NB_CPUS 5

#define APIC_SPURIOUS 0xf0
#define APIC_SOFTWARE_ENABLE 0x1ff
#define APIC_ICR_LOW 0x300
#define ICR_TO_OTHERS 0xc0000
#define ICR_ASSERT 0x4000
#define ICR_INIT 0x500
#define ICR_STARTUP 0x600
#define APIC_TIMER 0x320
#define APIC_TIMER_COUNT 0x380
#define APIC_TIMER_DIVIDE 0x3e0
#define DIVIDE_BY_1 0xb
/* Of the timer: 1 GHz in KVM (arch/x86/kvm/lapic.h, APIC_BUS_CYCLE_NS) as in QEMU (hw/intc/apic.c). */
#define COUNTS_PER_US 1000

#define TIMER_VECTOR 0x20
#define TIMER_PERIODIC 0x20000
#define GATE_PRESENT 0x8e00 /* an interrupt gate */

/* xen/include/public/arch-x86/hvm/start_info.h, version 1. */
struct hvm_start_info {
	u32 magic, version, flags, modules;
	u64 module_list, command_line, rsdp, memory_map;
	u32 memory_map_entries, reserved;
};

struct memory_map_entry {
	u64 address, size;
	u32 type, reserved;
};
#define MAGIC 0x336ec578
#define TYPE_RAM 1

struct range {
	u64 address, pages;
};

static struct range ranges[32];
static u32 nr_ranges;
static char command_line[1024];
/* A ticket lock: a CPU that prints all the time must not starve the others. */
static struct {
	u32 next, serving;
} *const console = (void *)CONSOLE_LOCK;

struct gate {
	u16 offset_low, segment, type, offset_middle;
	u32 offset_high, reserved;
};

/* Shared by all CPUs. They end at the timer's, which is the only interrupt. */
static struct gate gates[TIMER_VECTOR + 1];

extern u32 cpus_arrived;
extern void timer_entry(void);
extern const u8 ap_trampoline[], ap_trampoline_end[];

static void outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "dN"(port));
}

static void outw(u16 port, u16 value)
{
	__asm__ volatile("outw %0, %1" ::"a"(value), "dN"(port));
}

static u8 inb(u16 port)
{
	u8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "dN"(port));
	return value;
}

/* GCC compiles plain loops and assignments to calls of this. */
void *memcpy(void *to, const void *from, u64 size)
{
	for (u64 i = 0; i < size; i++)
		((volatile u8 *)to)[i] = ((const u8 *)from)[i];
	return to;
}

void machine_init(const struct hvm_start_info *info)
{
	const struct memory_map_entry *map = (const void *)info->memory_map;
	const u64 mapped = (u64)MAPPED_GIB << 30;
	u32 i;

	if (info->magic != MAGIC || info->version < 1) {
		print("PANIC no PVH start info with a memory map");
		for (;;)
			__asm__ volatile("hlt");
	}
	for (i = 0; info->command_line && i < sizeof(command_line) - 1; i++)
		command_line[i] = ((const char *)info->command_line)[i];

	for (i = 0; i < info->memory_map_entries; i++) {
		u64 start = map[i].address, end = start + map[i].size;

		if (start < WORK_START)
			start = WORK_START;
		if (end > mapped)
			end = mapped;
		start = (start + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
		end &= ~(PAGE_SIZE - 1);
		if (map[i].type == TYPE_RAM && start < end && nr_ranges < sizeof(ranges) / sizeof(ranges[0]))
			ranges[nr_ranges++] = (struct range){ start, (end - start) / PAGE_SIZE };
	}
}

u64 idle_pages(void)
{
	return (CONSOLE_LOCK - IDLE_START) / PAGE_SIZE;
}

u64 *idle_page(u64 number)
{
	return (u64 *)(IDLE_START + number * PAGE_SIZE);
}

u64 ram_pages(void)
{
	u64 pages = 0;

	for (u32 i = 0; i < nr_ranges; i++)
		pages += ranges[i].pages;
	return pages;
}

u64 *ram_page(u64 number)
{
	u32 i = 0;

	while (number >= ranges[i].pages)
		number -= ranges[i++].pages;
	return (u64 *)(ranges[i].address + number * PAGE_SIZE);
}

static volatile u32 *apic(u32 reg)
{
	return (volatile u32 *)((u64)APIC + reg);
}

void machine_start_clock(u64 microseconds)
{
	u64 entry = (u64)timer_entry;
	struct {
		u16 limit;
		const struct gate *base;
	} __attribute__((packed)) table = { sizeof(gates) - 1, gates };

	gates[TIMER_VECTOR] = (struct gate){ (u16)entry, CODE64, GATE_PRESENT, (u16)(entry >> 16), (u32)(entry >> 32), 0 };
	__asm__ volatile("lidt %0" ::"m"(table));
	/* The firmware left its timer running. */
	outb(PIC1_MASK, 0xff);
	outb(PIC2_MASK, 0xff);
	*apic(APIC_SPURIOUS) = APIC_SOFTWARE_ENABLE;
	*apic(APIC_TIMER_DIVIDE) = DIVIDE_BY_1;
	/* Periodic: KVM loses a tick between a VM's stop and the saving of its state. */
	*apic(APIC_TIMER) = TIMER_VECTOR | TIMER_PERIODIC;
	*apic(APIC_TIMER_COUNT) = (u32)(microseconds * COUNTS_PER_US);
}

void rest(void)
{
	/* The CPU takes an interrupt only after the instruction that follows sti, so it cannot miss the hlt. */
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}

void tick(void)
{
	outb(COM2, '.');
}

/* About a microsecond each, the traditional delay of port 0x80. Only the order matters, not the time. */
static void pause_for(u32 count)
{
	while (count--)
		outb(0x80, 0);
}

u32 machine_start_cpus(void)
{
	u32 wanted;

	outw(FW_CFG_SELECT, FW_CFG_NB_CPUS);
	wanted = inb(FW_CFG_DATA);
	wanted |= (u32)inb(FW_CFG_DATA) << 8;
	if (wanted > MAX_CPUS)
		print("PANIC %d CPUs, at most %d can be used", (u64)wanted, (u64)MAX_CPUS);
	memcpy((void *)AP_TRAMPOLINE, ap_trampoline, (u64)(ap_trampoline_end - ap_trampoline));

	*apic(APIC_SPURIOUS) = APIC_SOFTWARE_ENABLE;
	*apic(APIC_ICR_LOW) = ICR_TO_OTHERS | ICR_ASSERT | ICR_INIT;
	pause_for(1000);
	/*
	 * A CPU that already runs ignores a SIPI, so sending it again is harmless. On a busy host it can take long until a
	 * vCPU runs at all.
	 */
	for (u32 tries = 0; tries < 30000 && __atomic_load_n(&cpus_arrived, __ATOMIC_SEQ_CST) < wanted; tries++) {
		if (tries % 100 == 0)
			*apic(APIC_ICR_LOW) = ICR_TO_OTHERS | ICR_ASSERT | ICR_STARTUP | (AP_TRAMPOLINE >> 12);
		pause_for(100);
	}
	if (cpus_arrived != wanted)
		print("PANIC %d of %d CPUs came", (u64)cpus_arrived, (u64)wanted);
	return cpus_arrived;
}

/* The text after NAME= on the command line; null if it is not there. */
static const char *option(const char *name)
{
	for (const char *at = command_line; *at;) {
		const char *n = name, *p = at;

		while (*n && *p == *n) {
			n++;
			p++;
		}
		if (!*n && *p == '=')
			return p + 1;
		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			at++;
	}
	return 0;
}

u64 option_number(const char *name, u64 otherwise)
{
	const char *p = option(name);
	u64 value = 0;

	if (!p)
		return otherwise;
	for (; *p >= '0' && *p <= '9'; p++)
		value = value * 10 + (u64)(*p - '0');
	return value << (*p == 'K' ? 10 : *p == 'M' ? 20 : *p == 'G' ? 30 : 0);
}

int option_is(const char *name, const char *wanted)
{
	const char *p = option(name);

	while (p && *wanted && *p == *wanted) {
		p++;
		wanted++;
	}
	return p && !*wanted && (!*p || *p == ' ');
}

static void put(char c)
{
	while (!(inb(COM1 + LINE_STATUS) & TRANSMIT_EMPTY))
		;
	outb(COM1, (u8)c);
}

static void put_number(u64 value, u64 base)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		put(digits[--n]);
}

void print(const char *text, ...)
{
	va_list args;
	u32 ticket;

	va_start(args, text);
	ticket = __atomic_fetch_add(&console->next, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&console->serving, __ATOMIC_ACQUIRE) != ticket)
		cpu_relax();
	for (; *text; text++) {
		if (*text != '%') {
			put(*text);
			continue;
		}
		switch (*++text) {
		case 'd':
			put_number(va_arg(args, u64), 10);
			break;
		case 'x':
			put_number(va_arg(args, u64), 16);
			break;
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(*s);
			break;
		}
	}
	put('\n');
	__atomic_store_n(&console->serving, ticket + 1, __ATOMIC_RELEASE);
	va_end(args);
}
