/* SPDX-License-Identifier: GPL-2.0-only */
/* Measures the rates of tenants and classes per window, and derives each paced class's rate. */
#ifndef GC_RATES_H
#define GC_RATES_H

#include "pace.h"

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL

/* Set by gcctl. The default covers all CPUs that a kernel can have. */
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
			return 1;	/* past the last CPU */
		sums->bytes[i] += READ_ONCE(stats->bytes);
	}
	return 0;
}

/* Returns bytes per second. The unit of time is coarser for long times, to avoid overflow. */
static __always_inline __u64 gc_rate(__u64 bytes, __u64 ns)
{
	if (ns < NSEC_PER_SEC)
		return bytes * (NSEC_PER_SEC / NSEC_PER_USEC) / (ns / NSEC_PER_USEC + 1);
	return bytes * (NSEC_PER_SEC / NSEC_PER_MSEC) / (ns / NSEC_PER_MSEC);
}

/* Adopts a rising rate at once, in favour of tenants, and a falling one gradually. */
static __always_inline __u64 gc_estimate(__u64 old, __u64 rate, __u64 elapsed, __u64 decay)
{
	__u64 step;

	if (rate >= old || elapsed >= decay)
		return rate;
	/* Rounded up, so that it reaches the rate. */
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

/* Returns a class's weight, clamped to GC_WEIGHT_MAX; 0 if it is not paced. */
static __always_inline __u32 gc_weight(const struct gc_policy_config *config, __u32 index)
{
	return gc_min(READ_ONCE(gc_class_config(config, index)->weight), GC_WEIGHT_MAX);
}

/* Returns the rate available to all paced classes together. */
static __always_inline __u64 gc_available(const struct gc_window *window,
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
 * Returns the rate that a class may send at: its share among the paced classes that are sending, or
 * what the others leave, whichever is more. `weights` is the sum of the weights of those classes,
 * `sent` the sum of their rates.
 */
static __always_inline __u64 gc_class_rate(const struct gc_class_config *class, __u64 available,
					   __u32 weight, __u64 estimate, __u64 weights, __u64 sent)
{
	__u64 floor = READ_ONCE(class->floor), cap = READ_ONCE(class->cap);
	__u64 others = sent - estimate, unused = available > others ? available - others : 0, rate;

	if (!estimate)
		weights += weight;	/* the class is about to send */
	rate = available * weight / (weights ? weights : 1);
	if (rate < unused)
		rate = unused;
	if (rate > cap)
		rate = cap;
	return rate < floor ? floor : rate;
}

static void gc_set_rates(const struct gc_window *window, const struct gc_policy_config *config)
{
	__u64 available = gc_available(window, config), sum = 0, sent = 0, estimate;
	__u32 weights[GC_CLASSES], i, index;
	__u64 *rate;

	for (i = 0; i < GC_CLASSES; i++) {
		weights[i] = gc_weight(config, i);
		if (weights[i] && window->estimates[i]) {
			sum += weights[i];
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
			WRITE_ONCE(*rate, gc_class_rate(gc_class_config(config, i), available,
							weights[i], estimate, sum, sent));
	}
}

/*
 * Updates the rates if the window is over. If another CPU is already measuring, keeps the current
 * rates. Returns false if there are none yet.
 */
static __always_inline bool gc_update_rates(const struct gc_policy_config *config, __u64 now)
{
	__u32 zero = 0;
	struct gc_window *window = bpf_map_lookup_elem(&gc_windows, &zero);
	__u64 start, min_window = READ_ONCE(config->window_ns);

	if (!window)
		return false;
	start = READ_ONCE(window->start);
	/* Another CPU's `now` may be a little later than ours. */
	if (start && (now <= start || now - start < min_window))
		return true;
	if (__sync_val_compare_and_swap(&window->busy, 0, 1))
		return start;
	if (window->start == start) {
		gc_measure(window, config, now);
		gc_set_rates(window, config);
		/* Last: a start other than 0 tells other CPUs that there are rates. */
		__sync_lock_test_and_set(&window->start, now);
	}
	__sync_lock_test_and_set(&window->busy, 0);
	return true;
}

#endif /* GC_RATES_H */
