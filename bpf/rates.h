/* SPDX-License-Identifier: GPL-2.0-only */
/* What everybody sends, measured window by window, and what that leaves to each paced class. */
#ifndef GC_RATES_H
#define GC_RATES_H

#include "pace.h"

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL

/* A program that nobody has told the number takes all CPUs that the kernel knows. */
const volatile __u32 gc_cpus = 8192;

struct gc_sums {
	__u64 bytes[GC_COUNTERS];
};

static int gc_add_cpu(__u32 cpu, struct gc_sums *sums)
{
	const struct gc_class_stats *stats;
	__u32 i;

	for (i = 0; i < GC_COUNTERS; i++) {
		__u32 index = i;

		stats = bpf_map_lookup_percpu_elem(&gc_stats, &index, cpu);
		if (!stats)
			return 1;	/* there are no more CPUs */
		sums->bytes[i] += READ_ONCE(stats->bytes);
	}
	return 0;
}

/* Bytes per second. The longer the time, the coarser its unit, or the product would not fit. */
static __always_inline __u64 gc_rate(__u64 bytes, __u64 ns)
{
	if (ns < NSEC_PER_SEC)
		return bytes * (NSEC_PER_SEC / NSEC_PER_USEC) / (ns / NSEC_PER_USEC + 1);
	return bytes * (NSEC_PER_SEC / NSEC_PER_MSEC) / (ns / NSEC_PER_MSEC);
}

/* A rate that rises is believed at once, for a tenant's sake. One that falls, little by little. */
static __always_inline __u64 gc_estimate(__u64 old, __u64 rate, __u64 elapsed, __u64 decay)
{
	__u64 step;

	if (rate >= old || elapsed >= decay)
		return rate;
	/* Rounded up, so that it comes to an end. */
	step = (old - rate) * (elapsed / NSEC_PER_USEC) / (decay / NSEC_PER_USEC + 1) + 1;
	return old - gc_min(step, old - rate);
}

static void gc_measure(struct gc_window *window, const struct gc_policy_config *config, __u64 now)
{
	__u64 elapsed = now - window->start, decay = READ_ONCE(config->decay_ns);
	struct gc_sums sums = {};
	__u64 rate;
	__u32 i;

	bpf_loop(gc_cpus, gc_add_cpu, &sums, 0);
	for (i = 0; i < GC_COUNTERS; i++) {
		rate = gc_rate(sums.bytes[i] - window->bytes[i], elapsed);
		if (window->start)
			window->estimates[i] =
				gc_estimate(window->estimates[i], rate, elapsed, decay);
		window->bytes[i] = sums.bytes[i];
	}
}

/* A paced class' weight, within what the contract allows; 0 if it is not paced. */
static __always_inline __u32 gc_weight(const struct gc_policy_config *config, __u32 index)
{
	return gc_min(READ_ONCE(gc_class_config(config, index)->weight), GC_WEIGHT_MAX);
}

/* What the paced classes have together. */
static __always_inline __u64 gc_free(const struct gc_window *window,
				     const struct gc_policy_config *config)
{
	__u64 target = READ_ONCE(config->target), tenants = window->estimates[GC_TENANTS], used = 0;
	__u32 i;

	if (READ_ONCE(config->flags) & GC_YIELD)
		used = tenants + tenants / 1024 * READ_ONCE(config->headroom);
	for (i = 0; i < GC_CLASSES; i++)
		if (!gc_weight(config, i))
			used += window->estimates[i];
	return target > used ? target - used : 0;
}

/*
 * What a class may send: its share among those that send, or what those leave, whichever is more.
 * `shared` is the sum of the weights of the paced classes that send, `sent` of their rates.
 */
static __always_inline __u64 gc_class_rate(const struct gc_class_config *class, __u64 free,
					   __u32 weight, __u64 estimate, __u64 shared, __u64 sent)
{
	__u64 floor = READ_ONCE(class->floor), cap = READ_ONCE(class->cap);
	__u64 others = sent - estimate, rest = free > others ? free - others : 0, rate;

	if (!estimate)
		shared += weight;	/* it is about to */
	rate = free * weight / (shared ? shared : 1);
	if (rate < rest)
		rate = rest;
	if (rate > cap)
		rate = cap;
	return rate < floor ? floor : rate;
}

static void gc_decide(const struct gc_window *window, const struct gc_policy_config *config)
{
	__u64 free = gc_free(window, config), shared = 0, sent = 0, estimate;
	__u32 weights[GC_CLASSES], i, index;
	__u64 *rate;

	for (i = 0; i < GC_CLASSES; i++) {
		weights[i] = gc_weight(config, i);
		if (weights[i] && window->estimates[i]) {
			shared += weights[i];
			sent += window->estimates[i];
		}
	}
	for (i = 0; i < GC_COUNTERS; i++) {
		index = i;
		rate = bpf_map_lookup_elem(&gc_rates, &index);
		if (!rate)
			continue;
		estimate = window->estimates[i];
		if (i == GC_TENANTS || !weights[i])
			WRITE_ONCE(*rate, estimate);
		else
			WRITE_ONCE(*rate, gc_class_rate(gc_class_config(config, i), free,
							weights[i], estimate, shared, sent));
	}
}

/*
 * Measures, if the window is over. Who finds another CPU at it takes the rates there are; returns
 * false if there are none yet.
 */
static __always_inline bool gc_update_rates(const struct gc_policy_config *config, __u64 now)
{
	__u32 zero = 0;
	struct gc_window *window = bpf_map_lookup_elem(&gc_windows, &zero);
	__u64 start, least = READ_ONCE(config->window_ns);

	if (!window)
		return false;
	start = READ_ONCE(window->start);
	/* Another CPU's `now` may be a little later than ours. */
	if (start && (now <= start || now - start < least))
		return true;
	if (__sync_val_compare_and_swap(&window->busy, 0, 1))
		return start;
	if (window->start == start) {
		gc_measure(window, config, now);
		gc_decide(window, config);
		/* Only now: who sees a start takes it that there are rates. */
		__sync_lock_test_and_set(&window->start, now);
	}
	__sync_lock_test_and_set(&window->busy, 0);
	return true;
}

#endif /* GC_RATES_H */
