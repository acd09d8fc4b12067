// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>

#include "control.h"
#include "node.h"

static int __init gc_init(void)
{
	int err = gc_node_register();

	if (err)
		return err;
	/* Last, because user space can use the module from here on. */
	err = gc_control_register();
	if (err)
		gc_node_unregister();
	return err;
}

static void __exit gc_exit(void)
{
	gc_control_unregister();
	gc_node_unregister();
}

module_init(gc_init);
module_exit(gc_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Records which pages of a VM's memory are accessed, for live migration");
MODULE_VERSION("0.1.0");
