/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract between gcctl and the tc program of a traffic policy: the shapes of the maps that
 * gcctl finds in the program's object. gcctl's own program is shape.bpf.c; `gcctl policy attach
 * --object` takes anybody's that keeps to this:
 *
 *   program   one, in SEC("tc"). It sees each packet that leaves the NIC, with an Ethernet header.
 *   license   "GPL" or one compatible with it.
 *   version   const volatile __u32 gc_policy_version = GC_POLICY_VERSION;
 *   maps      gc_config  ARRAY,        1 entry,      __u32 -> struct gc_policy_config
 *             gc_stats   PERCPU_ARRAY, GC_COUNTERS,  __u32 -> struct gc_class_stats
 *             gc_rates   ARRAY,        GC_COUNTERS,  __u32 -> __u64; may be left out
 *
 * gcctl writes gc_config before it attaches the program, and again whenever the user changes the
 * policy: not atomically, so a program must stand any mixture of an old and a new one. The program
 * writes the other two, gcctl only reads them. In gc_rates is what each class may send: paced
 * classes' rates; of tenants and of classes that are not paced, what they do send.
 *
 * Verdict: TC_ACT_UNSPEC lets the packet go on, to other programs first if there are any. A program
 * must let all go on that it does not know, and count what it drops.
 */
#ifndef GC_POLICY_H
#define GC_POLICY_H

#include <linux/types.h>

#define GC_POLICY_VERSION 1

/* What a migration's packet carries: its socket's mark (SO_MARK) is the policy's plus this. */
enum gc_class {
	GC_URGENT,	/* pages that the VM waits for, device state, gcctl's own messages */
	GC_GUIDE,	/* pages that the guide touched */
	GC_WARM,	/* pages next to those that the VM waited for, or of the recorded hot set */
	GC_BACKGROUND,	/* all other pages, pre-copy among them */
	GC_CLASSES,
};

/* Index of gc_stats and gc_rates for all packets that no migration sent. */
#define GC_TENANTS GC_CLASSES
#define GC_COUNTERS (GC_CLASSES + 1)

#define GC_DSCP_KEEP 0xff
#define GC_WEIGHT_MAX 0xffff

/* Rates are bytes per second as qdiscs count: with the Ethernet header, without FCS and gap. */
struct gc_class_config {
	__u64 floor;	/* it may use so much, also where tenants leave nothing; never 0 */
	__u64 cap;	/* it may not use more than this */
	/* Its share of what the paced classes have, at most GC_WEIGHT_MAX; 0: never delayed. */
	__u32 weight;
	__u8 dscp;	/* 0 to 63, or GC_DSCP_KEEP */
	__u8 reserved[3];
};

#define GC_YIELD 0x1	/* tenants go first: their rate is taken off what the paced classes have */

struct gc_policy_config {
	__u32 version;		/* GC_POLICY_VERSION */
	__u32 mark;		/* of the first class */
	__u64 target;		/* rate that tenants and migrations together may reach */
	__u64 window_ns;	/* rates are measured over this long, at least */
	__u64 decay_ns;		/* a measured rate that falls is believed this much later */
	/* A packet that would leave later than this from now is dropped. At most 10 s. */
	__u64 horizon_ns;
	__u32 headroom;		/* left free for tenants to grow into, in 1/1024 of their rate */
	__u32 flags;		/* GC_YIELD */
	struct gc_class_config classes[GC_CLASSES];
};

/* Of one CPU. Packets are those on the wire: a GSO packet is as many as it will be cut into. */
struct gc_class_stats {
	__u64 packets;
	__u64 bytes;
	__u64 drops;		/* packets, beyond the horizon */
	__u64 delayed;		/* GSO packets that were given a later departure time */
	__u64 delay_ns;		/* the sum of their delays */
	__u64 delay_max_ns;	/* the longest of them */
};

#endif /* GC_POLICY_H */
