/* SPDX-License-Identifier: GPL-2.0-only */
/* Sets the DSCP of IPv4 and IPv6 packets with up to two VLAN tags. Leaves others alone. */
#ifndef GC_PACKET_H
#define GC_PACKET_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>

#define GC_VLAN_TAGS 2
#define GC_DSCP_MAX 63

/*
 * Returns the EtherType of the network header and sets *offset to where it begins. Returns 0 if the
 * packet is too short or has more than GC_VLAN_TAGS tags.
 */
static __always_inline __be16 gc_network_header(struct __sk_buff *skb, __u32 *offset)
{
	__be16 type;
	int tag;

	*offset = ETH_HLEN;
	for (tag = 0; tag <= GC_VLAN_TAGS; tag++) {
		if (bpf_skb_load_bytes(skb, *offset - sizeof(type), &type, sizeof(type)))
			return 0;
		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			return type;
		*offset += 4;
	}
	return 0;
}

/* The version and the traffic class are in the first two bytes of both, at different positions. */
static __always_inline void gc_set_dscp(struct __sk_buff *skb, __u8 dscp)
{
	__u32 offset;
	__be16 type, old, new;

	if (dscp > GC_DSCP_MAX)
		return;
	type = gc_network_header(skb, &offset);
	if (!type || bpf_skb_load_bytes(skb, offset, &old, sizeof(old)))
		return;
	if (type == bpf_htons(ETH_P_IP) && (bpf_ntohs(old) & 0xf000) == 0x4000) {
		new = (old & bpf_htons(~0x00fc)) | bpf_htons(dscp << 2);
		if (new == old || bpf_ntohs(old) < 0x4500 ||
		    skb->len < offset + sizeof(struct iphdr))
			return;
		if (bpf_l3_csum_replace(skb, offset + offsetof(struct iphdr, check), old, new,
					sizeof(new)))
			return;
	} else if (type == bpf_htons(ETH_P_IPV6) && (bpf_ntohs(old) & 0xf000) == 0x6000) {
		new = (old & bpf_htons(~0x0fc0)) | bpf_htons(dscp << 6);
		if (new == old)
			return;
	} else {
		return;
	}
	bpf_skb_store_bytes(skb, offset, &new, sizeof(new), 0);
}

#endif /* GC_PACKET_H */
