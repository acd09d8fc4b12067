// SPDX-License-Identifier: GPL-2.0-only
/*
 * An example of a custom traffic policy: each paced class of a migration is limited to its `cap`,
 * whatever the tenants do. It suits links whose share for migrations is agreed on beforehand. It
 * ignores floors and yield; a weight of 0 still means that the class is not paced.
 *
 *   clang --target=bpf -O2 -g -I/usr/include/$(gcc -print-multiarch) -c fixed.bpf.c -o fixed.bpf.o
 *   gcctl policy attach --dev eth0 --object fixed.bpf.o
 *   gcctl policy set --dev eth0 class.guide.cap=200mbit class.background.cap=50mbit
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <guidecopy/gc_policy.h>

#define NSEC_PER_SEC 1000000000ULL

char LICENSE[] SEC("license") = "GPL";

/* gcctl refuses objects built for another version of the contract. */
const volatile __u32 gc_policy_version = GC_POLICY_VERSION;

/* Maps of the contract. gcctl writes the policy to gc_config ... */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gc_policy_config);
} gc_config SEC(".maps");

/* ... and reads the counters from gc_stats for `gcctl policy show` ... */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GC_COUNTERS);
	__type(key, __u32);
	__type(value, struct gc_class_stats);
} gc_stats SEC(".maps");

/* ... and the rate of each class from the optional gc_rates. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GC_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} gc_rates SEC(".maps");

/* Private map: earliest departure of each class's next packet, in ns. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GC_CLASSES);
	__type(key, __u32);
	__type(value, __u64);
} next_departures SEC(".maps");

/*
 * Schedules the packet's departure after those of its class before it, at `rate`; fq holds it until
 * then. Returns false if the departure is beyond the horizon: the packet must be dropped.
 */
static bool pace(struct __sk_buff *skb, const struct gc_policy_config *config, __u32 class,
		 __u64 rate, struct gc_class_stats *stats)
{
	__u64 *next = bpf_map_lookup_elem(&next_departures, &class);
	__u64 now = bpf_ktime_get_ns(), departure, begin;

	if (!next || !rate)
		return true;
	if (*next < now)
		*next = now;	/* racing CPUs may let a packet depart too early */
	if (*next - now > config->horizon_ns)
		return false;
	departure = __sync_fetch_and_add(next, skb->wire_len * NSEC_PER_SEC / rate);
	/* TCP paces, too, and its time may be later than ours. */
	begin = skb->tstamp > now ? skb->tstamp : now;
	if (departure <= begin)
		return true;
	skb->tstamp = departure;
	stats->delayed++;
	stats->delay_ns += departure - begin;
	if (departure - begin > stats->delay_max_ns)
		stats->delay_max_ns = departure - begin;
	return true;
}

SEC("tc")
int fixed(struct __sk_buff *skb)
{
	__u32 zero = 0, class = GC_TENANTS;
	struct gc_policy_config *config = bpf_map_lookup_elem(&gc_config, &zero);
	struct gc_class_stats *stats;
	__u32 packets = skb->gso_segs ? skb->gso_segs : 1;
	__u64 *rate;

	if (config && skb->mark - config->mark < GC_CLASSES)
		class = skb->mark - config->mark;
	stats = bpf_map_lookup_elem(&gc_stats, &class);
	rate = bpf_map_lookup_elem(&gc_rates, &class);
	if (!stats || !rate)
		return TC_ACT_UNSPEC;
	if (config && class < GC_CLASSES && config->classes[class].weight) {
		*rate = config->classes[class].cap;
		if (!pace(skb, config, class, *rate, stats)) {
			stats->drops += packets;
			return TC_ACT_SHOT;
		}
	}
	stats->packets += packets;
	stats->bytes += skb->wire_len;
	return TC_ACT_UNSPEC;
}
