# SPDX-License-Identifier: GPL-2.0-or-later
# Warnings, and the tools that make a developer's loop short where they are installed.
add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor)
# One file of a unity build is no scope of its own.
if(CMAKE_UNITY_BUILD)
    add_compile_options(-Wno-shadow)
endif()
# GCC 12 warns of every optional that is moved out of an expected (its bug 105562 and kin).
add_compile_options($<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
# A release must build with tomorrow's compiler; a developer must not add a warning.
if(EXISTS "${CMAKE_SOURCE_DIR}/.git")
    add_compile_options(-Werror)
endif()

option(GC_FAST_TOOLS "use ccache, mold and split DWARF where they are installed" OFF)
if(GC_FAST_TOOLS)
    find_program(CCACHE ccache)
    if(CCACHE)
        # Paths below the source tree are relative in the cache: two checkouts share it.
        set(CMAKE_CXX_COMPILER_LAUNCHER
            ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
            CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
    endif()
    find_program(MOLD mold)
    if(MOLD)
        add_link_options(-fuse-ld=mold)
    endif()
    # -fpch-preprocess: what ccache wants to see of a precompiled header.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-gsplit-dwarf> $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endif()

set(GC_SANITIZE "" CACHE STRING "sanitizers, as -fsanitize= takes them: address,undefined or thread")
if(GC_SANITIZE)
    add_compile_options(-fsanitize=${GC_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    # A null pointer ends the program anyway. These checks take a third of the time that the compiler needs.
    add_compile_options(-fno-sanitize=null,vptr,object-size)
    # So does this one with GCC. What reads packed bytes is fuzzed, with clang, which keeps it.
    add_compile_options($<$<CXX_COMPILER_ID:GNU>:-fno-sanitize=alignment>)
    add_link_options(-fsanitize=${GC_SANITIZE})
    # ThreadSanitizer does not understand fences, and GCC says so: those of the ring pair with the kernel's, which it
    # does not see anyway.
    if(GC_SANITIZE STREQUAL thread)
        add_compile_options($<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
    endif()
endif()
