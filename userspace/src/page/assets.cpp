// SPDX-License-Identifier: GPL-2.0-or-later
#include "page/assets.h"

extern "C" {
extern const char gc_page_page[], gc_page_page_end[];
extern const char gc_page_style[], gc_page_style_end[];
extern const char gc_page_script[], gc_page_script_end[];
extern const char gc_page_chart_js[], gc_page_chart_js_end[];
}

namespace gc::page {

Assets assets() {
    return {.page = {gc_page_page, gc_page_page_end},
            .style = {gc_page_style, gc_page_style_end},
            .script = {gc_page_script, gc_page_script_end},
            .chart_js = {gc_page_chart_js, gc_page_chart_js_end}};
}

}  // namespace gc::page
