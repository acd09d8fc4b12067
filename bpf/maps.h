/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps of shape.bpf.c: first those of the contract, then its own. */
#ifndef GC_MAPS_H
#define GC_MAPS_H

#include "gc_policy.h"

/* gcctl changes the policy while packets pass: what is checked must be what is used. */
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

/* A cache line of its own for each class: all CPUs write it. */
struct gc_pace {
	__u64 next;	/* when the class' next packet may leave, in ticks (pace.h) */
	__u64 unused[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GC_CLASSES);
	__type(key, __u32);
	__type(value, struct gc_pace);
} gc_paces SEC(".maps");

/* Written by who holds `busy`; others read `start` only. */
struct gc_window {
	__u64 busy;
	__u64 start;			/* of the running window; 0: there was none yet */
	__u64 bytes[GC_COUNTERS];	/* sent until then */
	__u64 estimates[GC_COUNTERS];	/* bytes per second */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gc_window);
} gc_windows SEC(".maps");

/* When the last packet of a connection may leave, in ns. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} gc_departures SEC(".maps");

/* Clang drops a bound that it has proved, but the verifier has lost the proof: here both see it. */
static __always_inline const struct gc_class_config *
gc_class_config(const struct gc_policy_config *config, __u32 index)
{
	asm volatile("" : "+r"(index));
	return &config->classes[index % GC_CLASSES];
}

#endif /* GC_MAPS_H */
