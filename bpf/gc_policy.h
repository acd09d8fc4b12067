/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract between gcctl and the tc program of a traffic policy. gcctl's own program is
 * shape.bpf.c; `gcctl policy attach --object` accepts any object that contains:
 *
 *   program   exactly one, in SEC("tc"). It sees each packet that leaves the NIC, with its Ethernet
 *             header.
 *   license   "GPL" or a compatible one.
 *   version   const volatile __u32 gc_policy_version = GC_POLICY_VERSION;
 *   maps      gc_config  ARRAY,        1 entry,      __u32 -> struct gc_policy_config
 *             gc_stats   PERCPU_ARRAY, GC_COUNTERS,  __u32 -> struct gc_class_stats
 *             gc_rates   ARRAY,        GC_COUNTERS,  __u32 -> __u64; optional
 *
 * gcctl writes gc_config before it attaches the program and whenever the user changes the policy.
 * The update is not atomic: a program must tolerate any mixture of an old and a new policy. The
 * program writes gc_stats and gc_rates, which gcctl only reads. gc_rates holds bytes per second:
 * for a paced class the rate it may send at; for tenants and classes that are not paced the rate
 * they do send at.
 *
 * Verdicts: TC_ACT_UNSPEC passes the packet on, to the next program if there is one. A program must
 * pass every packet that it does not know, and count every packet that it drops.
 */
#ifndef GC_POLICY_H
#define GC_POLICY_H

#include <linux/types.h>

#define GC_POLICY_VERSION 1

/* Classes of a migration's packets. The socket's mark (SO_MARK) is the policy's mark plus this. */
enum gc_class {
	GC_URGENT,	/* pages that the VM waits for, device state, gcctl's own messages */
	GC_GUIDE,	/* pages that the guide touched */
	GC_WARM,	/* neighbours of pages that the VM waited for; pages of the hot set */
	GC_BACKGROUND,	/* all other pages, including those of pre-copy */
	GC_CLASSES,
};

/* Index in gc_stats and gc_rates of all packets that do not belong to a migration. */
#define GC_TENANTS GC_CLASSES
#define GC_COUNTERS (GC_CLASSES + 1)

#define GC_DSCP_KEEP 0xff
#define GC_WEIGHT_MAX 0xffff

/* Rates are in bytes per second, as qdiscs count: with the Ethernet header, without FCS and gap. */
struct gc_class_config {
	__u64 floor;	/* minimum rate, even if tenants leave nothing; never 0 */
	__u64 cap;	/* maximum rate */
	/* Share among the paced classes, at most GC_WEIGHT_MAX. 0: not paced, never delayed. */
	__u32 weight;
	__u8 dscp;	/* 0 to 63, or GC_DSCP_KEEP */
	__u8 reserved[3];
};

#define GC_YIELD 0x1	/* subtract the tenants' rate from what the paced classes may use */

struct gc_policy_config {
	__u32 version;		/* GC_POLICY_VERSION */
	__u32 mark;		/* SO_MARK of the first class */
	__u64 target;		/* rate that tenants and migrations together may reach */
	__u64 window_ns;	/* minimum duration of a rate measurement */
	__u64 decay_ns;		/* time until a falling rate is fully adopted */
	/* Drop packets that would depart more than this from now. At most 10 s. */
	__u64 horizon_ns;
	__u32 headroom;		/* reserve for tenants to grow into, in 1/1024 of their rate */
	__u32 flags;		/* GC_YIELD */
	struct gc_class_config classes[GC_CLASSES];
};

/* Counters of one CPU. A GSO packet counts as the number of packets it is segmented into. */
struct gc_class_stats {
	__u64 packets;
	__u64 bytes;
	__u64 drops;		/* packets dropped beyond the horizon */
	__u64 delayed;		/* packets, before segmentation, whose departure was delayed */
	__u64 delay_ns;		/* sum of their delays */
	__u64 delay_max_ns;	/* longest of them */
};

#endif /* GC_POLICY_H */
