// SPDX-License-Identifier: GPL-2.0-only
/*
 * tc egress on the migration NIC: tells migrations' packets from tenants' by their mark, counts
 * both, and sets departure times so that migrations stay within the rates that the policy allows.
 */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "packet.h"
#include "pace.h"
#include "rates.h"

char LICENSE[] SEC("license") = "GPL";

const volatile __u32 gc_policy_version = GC_POLICY_VERSION;

static __always_inline __u32 packets_of(const struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

/* Sets the packet's departure time. Returns false if it must be dropped. */
static __always_inline bool pace(struct __sk_buff *skb, const struct gc_policy_config *config,
				 __u32 index, struct gc_class_stats *stats)
{
	struct gc_pace *pace = bpf_map_lookup_elem(&gc_paces, &index);
	__u64 *rate = bpf_map_lookup_elem(&gc_rates, &index);
	__u64 now = bpf_ktime_get_ns(), wait, begin;

	/* Until a CPU has set the first rates, packets are not paced. */
	if (!pace || !rate || !gc_update_rates(config, now))
		return true;
	if (!gc_reserve(pace, now, skb->wire_len, READ_ONCE(*rate), READ_ONCE(config->horizon_ns),
			&wait))
		return false;
	/* TCP paces, too, and its time may be later than ours. */
	begin = skb->tstamp > now ? skb->tstamp : now;
	if (now + wait <= begin)
		return true;
	skb->tstamp = now + wait;
	wait -= begin - now;
	stats->delayed++;
	stats->delay_ns += wait;
	if (wait > stats->delay_max_ns)
		stats->delay_max_ns = wait;
	return true;
}

/*
 * Keeps the packets of a connection in order. Its class may change while packets wait: fq would let
 * packets of the faster class overtake the others, and TCP would take those for lost.
 */
static __always_inline void keep_order(struct __sk_buff *skb)
{
	struct bpf_sock *socket = skb->sk;
	__u64 *last, before, departure = skb->tstamp ? skb->tstamp : bpf_ktime_get_ns();

	if (socket)
		socket = bpf_sk_fullsock(socket);
	if (!socket)
		return;
	last = bpf_sk_storage_get(&gc_departures, socket, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!last)
		return;
	/* Even if that time has passed: fq may be late. */
	before = READ_ONCE(*last);
	if (departure < before)
		skb->tstamp = before;
	else
		WRITE_ONCE(*last, departure);
}

SEC("tc")
int shape(struct __sk_buff *skb)
{
	__u32 zero = 0, index = GC_TENANTS;
	const struct gc_policy_config *config = bpf_map_lookup_elem(&gc_config, &zero);
	struct gc_class_stats *stats;

	/* Until there is a policy, all packets count as tenants'. */
	if (config && READ_ONCE(config->version) == GC_POLICY_VERSION) {
		__u32 class = skb->mark - READ_ONCE(config->mark);

		if (class < GC_CLASSES)
			index = class;
	}
	stats = bpf_map_lookup_elem(&gc_stats, &index);
	if (!stats)
		return TC_ACT_UNSPEC;
	if (index < GC_CLASSES && config) {
		if (gc_weight(config, index) && !pace(skb, config, index, stats)) {
			stats->drops += packets_of(skb);
			return TC_ACT_SHOT;
		}
		keep_order(skb);
		gc_set_dscp(skb, READ_ONCE(gc_class_config(config, index)->dscp));
	}
	stats->packets += packets_of(skb);
	stats->bytes += skb->wire_len;
	return TC_ACT_UNSPEC;
}
