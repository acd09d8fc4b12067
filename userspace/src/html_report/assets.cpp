// SPDX-License-Identifier: GPL-2.0-or-later
#include "html_report/assets.h"

extern "C" {
extern const char gc_report_template[], gc_report_template_end[];
extern const char gc_report_style[], gc_report_style_end[];
extern const char gc_report_script[], gc_report_script_end[];
extern const char gc_report_chart_js[], gc_report_chart_js_end[];
}

namespace gc::html_report {

Assets assets() {
    return {.page = {gc_report_template, gc_report_template_end},
            .style = {gc_report_style, gc_report_style_end},
            .script = {gc_report_script, gc_report_script_end},
            .chart_js = {gc_report_chart_js, gc_report_chart_js_end}};
}

}  // namespace gc::html_report
