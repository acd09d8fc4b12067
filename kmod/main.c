// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>

#include "control.h"

static int __init gc_init(void)
{
	return gc_control_register();
}

static void __exit gc_exit(void)
{
	gc_control_unregister();
}

module_init(gc_init);
module_exit(gc_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Records which pages of a VM's memory are accessed, for live migration");
MODULE_VERSION("0.1.0");
