/* SPDX-License-Identifier: GPL-2.0-only */
/* Departure times. fq holds each packet until its time, which limits the class to its rate. */
#ifndef GC_PACE_H
#define GC_PACE_H

#include "maps.h"

#define NSEC_PER_SEC 1000000000ULL

/*
 * Departure times are kept in 1/16 ns. A packet of 64 bytes takes 5.12 ns at 100 Gbit/s: whole
 * nanoseconds would be wrong by 2 %. In sixteenths, 64 bits last for 36 years of uptime.
 */
#define GC_TICKS_PER_NS 16ULL

/* fq caps departure times at its own horizon, 10 s by default. */
#define GC_HORIZON_MAX (10 * NSEC_PER_SEC)

static __always_inline __u64 gc_min(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

/* Returns the time that bytes take at rate, in ticks. */
static __always_inline __u64 gc_ticks(__u32 bytes, __u64 rate)
{
	if (!rate)
		rate = 1;
	return (bytes * NSEC_PER_SEC * GC_TICKS_PER_NS + rate / 2) / rate;
}

/*
 * Reserves the time of one packet and sets *wait to the delay until its departure, in ns. Returns
 * false, without reserving, if the delay would exceed the horizon.
 *
 * Lock-free, and no reservation is lost: if the compare-and-swap that advances a past time to now
 * fails, another CPU has advanced it, and we add to its value.
 *
 * One packet reserves at most half the horizon. Otherwise a large packet at a low rate would shut
 * the class out long after the rate has risen. Half, because TCP hands a qdisc two packets of a
 * connection, and takes the drop of a third for congestion.
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
