/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps of shape.bpf.c: those of the contract, then private ones. */
#ifndef GC_MAPS_H
#define GC_MAPS_H

#include "gc_policy.h"

/* gcctl changes the policy while packets pass: read a value once, then check and use the copy. */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gc_policy_config);
} gc_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GC_COUNTERS);
	__type(key, __u32);
	__type(value, struct gc_class_stats);
} gc_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GC_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} gc_rates SEC(".maps");

/* One cache line per class, because all CPUs write it. */
struct gc_pace {
	__u64 next;	/* earliest departure of the class's next packet, in ticks (pace.h) */
	__u64 unused[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GC_CLASSES);
	__type(key, __u32);
	__type(value, struct gc_pace);
} gc_paces SEC(".maps");

/* Only the CPU that holds `busy` writes it. The others read nothing but `start`. */
struct gc_window {
	__u64 busy;
	__u64 start;			/* of the current window; 0 before the first */
	__u64 bytes[GC_COUNTERS];	/* sent until start */
	__u64 estimates[GC_COUNTERS];	/* bytes per second */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gc_window);
} gc_windows SEC(".maps");

/* Departure time of a connection's last packet, in ns. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} gc_departures SEC(".maps");

/*
 * Clang omits bounds checks that it has proved redundant, but the verifier cannot follow its proof.
 * The asm hides index from clang, so that the bound stays in the code.
 */
static __always_inline const struct gc_class_config *
gc_class_config(const struct gc_policy_config *config, __u32 index)
{
	asm volatile("" : "+r"(index));
	return &config->classes[index % GC_CLASSES];
}

#endif /* GC_MAPS_H */
