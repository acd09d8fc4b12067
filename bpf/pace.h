/* SPDX-License-Identifier: GPL-2.0-only */
/* Departure times: fq holds each packet until its own, which makes the rate of its class. */
#ifndef GC_PACE_H
#define GC_PACE_H

#include "maps.h"

#define NSEC_PER_SEC 1000000000ULL

/*
 * A packet of 64 bytes takes 5.12 ns at 100 Gbit/s: whole nanoseconds would be wrong by 2 %. In
 * sixteenths, 64 bits last for 36 years of uptime.
 */
#define GC_TICKS_PER_NS 16ULL

/* fq cuts all departure times to its own horizon, 10 s unless told otherwise. */
#define GC_HORIZON_MAX (10 * NSEC_PER_SEC)

static __always_inline __u64 gc_min(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

/* How long the link, or the share of it that is `rate`, is busy with so many bytes; in ticks. */
static __always_inline __u64 gc_ticks(__u32 bytes, __u64 rate)
{
	if (!rate)
		rate = 1;
	return (bytes * NSEC_PER_SEC * GC_TICKS_PER_NS + rate / 2) / rate;
}

/*
 * Reserves the time of one packet. Returns false, and reserves nothing, if it would have to wait
 * for longer than the horizon; else tells the wait in ns. No CPU waits for another, and no
 * reservation is lost: who fails to move a time that has passed to now finds it moved by someone
 * else, and adds to that.
 *
 * One packet takes no longer than half the horizon, else a large one that meets a low rate would
 * shut the class out for long after the rate has risen. Half, as TCP hands a qdisc two packets of
 * a connection, and takes the drop of a third for congestion.
 */
static __always_inline bool gc_reserve(struct gc_pace *pace, __u64 now, __u32 bytes, __u64 rate,
				       __u64 horizon, __u64 *wait)
{
	__u64 now_ticks = now * GC_TICKS_PER_NS;
	__u64 limit = gc_min(horizon, GC_HORIZON_MAX) * GC_TICKS_PER_NS;
	__u64 next = READ_ONCE(pace->next);

	if (next < now_ticks)
		__sync_val_compare_and_swap(&pace->next, next, now_ticks);
	else if (next - now_ticks > limit)
		return false;
	next = __sync_fetch_and_add(&pace->next, gc_min(gc_ticks(bytes, rate), limit / 2));
	*wait = next > now_ticks ? (next - now_ticks) / GC_TICKS_PER_NS : 0;
	return true;
}

#endif /* GC_PACE_H */
