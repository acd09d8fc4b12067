# SPDX-License-Identifier: GPL-2.0-or-later
# Sets HTML_REPORT_ASSETS: an assembler source that makes the report's template, style and scripts bytes of the library.
# Chart.js is the distribution's.
find_file(CHART_JS chart.min.js PATHS /usr/share/javascript/chart.js NO_DEFAULT_PATH)
if(NOT CHART_JS)
    message(FATAL_ERROR "no chart.min.js (Chart.js 3) in /usr/share/javascript/chart.js: install Debian's package "
                        "libjs-chart.js (make deps), or give the file's path with -DCHART_JS=PATH")
endif()

set(assets ${CMAKE_CURRENT_LIST_DIR}/assets)
set(page ${assets}/report.html)
set(style ${assets}/report.css)
# In this order; elements.js has the "use strict" for all.
set(scripts elements units picture axes over_time stalls classes migration benchmark main)
list(TRANSFORM scripts REPLACE "(.+)" "${assets}/\\1.js")
list(TRANSFORM scripts REPLACE "(.+)" "\t.incbin \"\\1\"" OUTPUT_VARIABLE script)
list(JOIN script "\n" script)
set(HTML_REPORT_ASSETS ${CMAKE_CURRENT_BINARY_DIR}/html_report_assets.S)
configure_file(${CMAKE_CURRENT_LIST_DIR}/assets.S.in ${HTML_REPORT_ASSETS} @ONLY)
set_source_files_properties(${HTML_REPORT_ASSETS} PROPERTIES OBJECT_DEPENDS "${page};${style};${scripts};${CHART_JS}")
