// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/retained.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace gc::peer {
namespace {

Piece part_of(const Piece& piece, std::size_t from, std::size_t size) {
    if (piece.file < 0)
        return {.memory = piece.memory.subspan(from, size)};
    return {.memory = piece.memory.empty() ? piece.memory : piece.memory.subspan(from, size),
            .file = piece.file,
            .offset = piece.offset + from,
            .file_size = size};
}

}  // namespace

void Retained::add(const Piece& piece, std::shared_ptr<const void> owner, bool copied) {
    segments_.push_back({end_, piece, std::move(owner), copied});
    end_ += piece.size();
}

void Retained::copy(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        if (block_used_ == block_size) {
            block_ = pool_.take();
            block_used_ = 0;
        }
        const auto part = bytes.first(std::min(bytes.size(), block_size - block_used_));
        std::byte* to = block_.get() + block_used_;
        std::ranges::copy(part, to);
        block_used_ += part.size();
        copied_ += part.size();
        bytes = bytes.subspan(part.size());
        if (!segments_.empty() && segments_.back().owner == block_) {
            std::span<const std::byte>& before = segments_.back().piece.memory;
            if (before.data() + before.size() == to) {
                before = {before.data(), before.size() + part.size()};
                end_ += part.size();
                continue;
            }
        }
        add({.memory = {to, part.size()}}, block_, true);
    }
}

void Retained::refer(const Piece& piece, std::shared_ptr<const void> owner) {
    if (piece.size() > 0)
        add(piece, std::move(owner), false);
}

void Retained::hold(std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
    if (bytes.empty())
        return;
    copied_ += bytes.size();
    add({.memory = bytes}, std::move(owner), true);
}

void Retained::drop(std::uint64_t position) {
    while (begin_ < position && !segments_.empty()) {
        Segment& first = segments_.front();
        const std::uint64_t end = first.begin + first.piece.size();
        const std::uint64_t until = std::min(position, end);
        if (first.copied)
            copied_ -= until - begin_;
        begin_ = until;
        if (until == end)
            segments_.pop_front();
    }
}

std::vector<Piece> Retained::pieces(std::uint64_t from, std::size_t max_bytes) const {
    std::vector<Piece> pieces;
    auto segment = std::ranges::upper_bound(segments_, from, {}, &Segment::begin);
    if (segment != segments_.begin())
        --segment;
    for (; segment != segments_.end() && max_bytes > 0; ++segment) {
        const std::size_t skip = from - segment->begin;
        const std::size_t size = std::min(max_bytes, segment->piece.size() - skip);
        if (size > 0)
            pieces.push_back(part_of(segment->piece, skip, size));
        from += size;
        max_bytes -= size;
    }
    return pieces;
}

}  // namespace gc::peer
