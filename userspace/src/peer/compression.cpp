// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/compression.h"

#include <algorithm>
#include <lz4.h>
#include <zstd.h>

namespace gc::peer {
namespace {

constexpr std::array<std::string_view, compressions.size()> compression_names{"lz4", "zstd"};
/// The fastest that is not negative: a frame is to be ready before the one in front of it has left.
constexpr int zstd_level = 1;

/// libzstd also reads several frames in a row, and formats of its early days.
bool is_one_zstd_frame(std::span<const std::byte> bytes) {
    constexpr std::array magic{std::byte{0x28}, std::byte{0xb5}, std::byte{0x2f}, std::byte{0xfd}};
    return bytes.size() >= magic.size() && std::ranges::equal(bytes.first<4>(), magic) &&
           ZSTD_findFrameCompressedSize(bytes.data(), bytes.size()) == bytes.size();
}

}  // namespace

std::string_view name(Compression how) {
    return compression_names[static_cast<std::size_t>(how) - 1];
}

std::optional<Compression> compression_of(std::string_view name) {
    const auto found = std::ranges::find(compression_names, name);
    if (found == compression_names.end())
        return std::nullopt;
    return compressions[static_cast<std::size_t>(found - compression_names.begin())];
}

Compressor::Compressor() = default;
Compressor::~Compressor() = default;

void Compressor::Free::operator()(ZSTD_CCtx_s* context) const {
    ZSTD_freeCCtx(context);
}

std::optional<std::span<const std::byte>>
Compressor::compress(Compression how, std::span<const std::byte> bytes, std::size_t max_size) {
    if (result_.size() < max_size)
        result_.resize(max_size);
    std::size_t size = 0;
    if (how == Compression::lz4) {
        size = static_cast<std::size_t>(LZ4_compress_default(
            reinterpret_cast<const char*>(bytes.data()), reinterpret_cast<char*>(result_.data()),
            static_cast<int>(bytes.size()), static_cast<int>(max_size)));
    } else {
        if (!zstd_)
            zstd_.reset(ZSTD_createCCtx());
        if (zstd_)
            size = ZSTD_compressCCtx(zstd_.get(), result_.data(), max_size, bytes.data(),
                                     bytes.size(), zstd_level);
        if (ZSTD_isError(size) != 0)
            size = 0;
    }
    if (size == 0)
        return std::nullopt;
    return std::span(result_).first(size);
}

Decompressor::Decompressor() = default;
Decompressor::~Decompressor() = default;

void Decompressor::Free::operator()(ZSTD_DCtx_s* context) const {
    ZSTD_freeDCtx(context);
}

Result<void> Decompressor::decompress(Compression how, std::span<const std::byte> bytes,
                                      std::span<std::byte> into) {
    std::size_t size = 0;
    if (how == Compression::lz4) {
        const int got = LZ4_decompress_safe(
            reinterpret_cast<const char*>(bytes.data()), reinterpret_cast<char*>(into.data()),
            static_cast<int>(bytes.size()), static_cast<int>(into.size()));
        if (got < 0)
            return fail(ErrorKind::protocol, "malformed LZ4 data of {} bytes", bytes.size());
        size = static_cast<std::size_t>(got);
    } else {
        if (!zstd_)
            zstd_.reset(ZSTD_createDCtx());
        if (!zstd_)
            return fail(ErrorKind::io, "no memory to decompress what the other gcctl sends");
        if (!is_one_zstd_frame(bytes))
            return fail(ErrorKind::protocol, "malformed Zstandard data of {} bytes", bytes.size());
        size =
            ZSTD_decompressDCtx(zstd_.get(), into.data(), into.size(), bytes.data(), bytes.size());
        if (ZSTD_isError(size) != 0)
            return fail(ErrorKind::protocol, "malformed Zstandard data of {} bytes: {}",
                        bytes.size(), ZSTD_getErrorName(size));
    }
    if (size != into.size())
        return fail(ErrorKind::protocol, "expected compressed data of {} bytes, found {}",
                    into.size(), size);
    return {};
}

}  // namespace gc::peer
