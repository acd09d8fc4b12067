// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <pugixml.hpp>
#include <string>
#include <string_view>

namespace gc::libvirt {

/// Without a child if the text is no XML.
inline pugi::xml_document parse_xml(std::string_view text) {
    pugi::xml_document document;
    if (!document.load_buffer(text.data(), text.size()))
        document.reset();
    return document;
}

/// The element as text; empty if it is none.
inline std::string text_of(const pugi::xml_node& element) {
    struct Text final : pugi::xml_writer {
        std::string text;
        void write(const void* data, std::size_t size) override {
            text.append(static_cast<const char*>(data), size);
        }
    } writer;
    element.print(writer, "", pugi::format_raw);
    return std::move(writer.text);
}

}  // namespace gc::libvirt
