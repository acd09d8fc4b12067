// SPDX-License-Identifier: GPL-2.0-only
/*
 * tc ingress on a guide's tap: counts and drops every packet that the guide sends. The tap is not
 * connected to anything; this program also keeps the packets from the host's network stack.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "gc_sent.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GC_SENT_KINDS);
	__type(key, __u32);
	__type(value, struct gc_sent);
} gc_sent SEC(".maps");

/* For a packet with a VLAN tag, skb->protocol is that of the encapsulated packet. */
static __always_inline __u32 kind_of(const struct __sk_buff *skb)
{
	switch (bpf_ntohs(skb->protocol)) {
	case ETH_P_ARP:
		return GC_SENT_ARP;
	case ETH_P_IP:
		return GC_SENT_IPV4;
	case ETH_P_IPV6:
		return GC_SENT_IPV6;
	}
	return GC_SENT_OTHER;
}

SEC("tc")
int quarantine(struct __sk_buff *skb)
{
	__u32 kind = kind_of(skb);
	struct gc_sent *sent = bpf_map_lookup_elem(&gc_sent, &kind);

	if (sent) {
		sent->packets++;
		sent->bytes += skb->len;
	}
	return TC_ACT_SHOT;
}
