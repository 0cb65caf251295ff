// SPDX-License-Identifier: GPL-2.0-only
/*
 * fragment: as long as it is loaded, no 4 MiB of memory are free in one piece, nor can be
 * made so by migrating pages, and nearly all of the memory is free.
 */
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>

#define ORDER	get_order(SZ_2M)

static LIST_HEAD(pages);

static void fragment_exit(void)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &pages, lru)
		__free_page(page);
}
module_exit(fragment_exit);

/* One page of each 2 MiB that are free is kept. */
static int __init fragment_init(void)
{
	struct page *page;
	unsigned int i, count = 0;

	while ((page = alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, ORDER))) {
		list_add(&page->lru, &pages);
		count++;
	}
	list_for_each_entry(page, &pages, lru) {
		split_page(page, ORDER);
		for (i = 1; i < 1 << ORDER; i++)
			__free_page(page + i);
	}
	pr_info("fragment: %u pages\n", count);
	return 0;
}
module_init(fragment_init);

MODULE_DESCRIPTION("Fragmentation of memory");
MODULE_LICENSE("GPL");
