// SPDX-License-Identifier: GPL-2.0-only
/*
 * A traffic policy of one's own: each class of a migration has its `cap` as a fixed rate, whatever
 * the tenants do, for links whose share for migrations was agreed on beforehand. Weights, floors
 * and yield have no meaning here.
 *
 *   clang --target=bpf -O2 -g -I/usr/include/$(gcc -print-multiarch) -c fixed.bpf.c -o fixed.bpf.o
 *   gcctl policy attach --dev eth0 --object fixed.bpf.o
 *   gcctl policy set --dev eth0 class.guide.cap=200mbit class.background.cap=50mbit
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <guidecopy/gc_policy.h>

#define NSEC_PER_SEC 1000000000ULL

char LICENSE[] SEC("license") = "GPL";

/* gcctl refuses an object that was made for another version of the contract. */
const volatile __u32 gc_policy_version = GC_POLICY_VERSION;

/* The contract's maps: gcctl writes the policy here ... */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gc_policy_config);
} gc_config SEC(".maps");

/* ... and `gcctl policy show` reads what there is to tell here ... */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GC_COUNTERS);
	__type(key, __u32);
	__type(value, struct gc_class_stats);
} gc_stats SEC(".maps");

/* ... and, if it is there, what a class may send here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GC_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} gc_rates SEC(".maps");

/* A map of the program's own: when the class' next packet may leave, in ns. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GC_CLASSES);
	__type(key, __u32);
	__type(value, __u64);
} next_departures SEC(".maps");

/* The packet leaves when those of its class before it have, at `rate`; fq waits for that. */
static void pace(struct __sk_buff *skb, __u32 class, __u64 rate, struct gc_class_stats *stats)
{
	__u64 *next = bpf_map_lookup_elem(&next_departures, &class);
	__u64 now = bpf_ktime_get_ns(), departure;

	if (!next || !rate)
		return;
	if (*next < now)
		*next = now;	/* where CPUs race for this, a packet may leave too early */
	departure = __sync_fetch_and_add(next, skb->wire_len * NSEC_PER_SEC / rate);
	if (departure <= now)
		return;
	skb->tstamp = departure;
	stats->delayed++;
	stats->delay_ns += departure - now;
	if (departure - now > stats->delay_max_ns)
		stats->delay_max_ns = departure - now;
}

SEC("tc")
int fixed(struct __sk_buff *skb)
{
	__u32 zero = 0, class = GC_TENANTS;
	struct gc_policy_config *config = bpf_map_lookup_elem(&gc_config, &zero);
	struct gc_class_stats *stats;
	__u64 *rate;

	if (config && skb->mark - config->mark < GC_CLASSES)
		class = skb->mark - config->mark;
	stats = bpf_map_lookup_elem(&gc_stats, &class);
	rate = bpf_map_lookup_elem(&gc_rates, &class);
	if (!stats || !rate)
		return TC_ACT_UNSPEC;
	stats->packets += skb->gso_segs ? skb->gso_segs : 1;
	stats->bytes += skb->wire_len;
	if (config && class < GC_CLASSES && config->classes[class].weight) {
		*rate = config->classes[class].cap;
		pace(skb, class, *rate, stats);
	}
	return TC_ACT_UNSPEC;
}
