// CBOR in C++'s own values.
//
// All that CBOR has goes through a `grid::Value`: also tags, and so integers beyond 64 bits, which are tagged bytes. For
// large messages of a known form, the reader and the writer in grid_reader.h and grid_writer.h make no copies.
#ifndef GRID_VALUE_HPP
#define GRID_VALUE_HPP

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "grid.hpp"

namespace grid {

class Value;
struct Entry;

/// Bytes that are no text.
using Bytes = std::vector<std::uint8_t>;
/// A list.
using Array = std::vector<Value>;
/// A map, in the order in which it came.
using Map = std::vector<Entry>;

/// A value of CBOR. One that nothing was put into is null.
///
/// It is no `std::variant`, which would be half as large in memory: the names of a variant's functions are longer than all
/// the rest of a module.
class Value {
  public:
    Value() = default;
    Value(std::nullptr_t) {}
    Value(const char *text) : Value(std::string(text)) {}
    Value(std::string_view text) : Value(std::string(text)) {}
    Value(std::string text) : kind_(GRID_TEXT), text_(std::move(text)) {}
    Value(Bytes bytes) : kind_(GRID_BYTES), bytes_(std::move(bytes)) {}
    Value(Array array) : kind_(GRID_ARRAY), array_(std::move(array)) {}
    Value(Map map) : kind_(GRID_MAP), map_(std::move(map)) {}

    /// A boolean, an integer, or a float.
    template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
    Value(T value) {
        if constexpr (std::is_same_v<T, bool>) kind_ = GRID_BOOL, number_ = value;
        else if constexpr (std::is_floating_point_v<T>) kind_ = GRID_FLOAT, real_ = value;
        else if (value < T{}) kind_ = GRID_NEGATIVE, number_ = ~static_cast<std::uint64_t>(value);
        else kind_ = GRID_UINT, number_ = static_cast<std::uint64_t>(value);
    }

    /// What there is, or null.
    template <class T>
    Value(const std::optional<T> &value) : Value(value ? Value(*value) : Value()) {}

    /// A value with a tag, which says how it is meant.
    static Value tagged(std::uint64_t tag, Value value) {
        Value tagged(Array{std::move(value)});
        tagged.kind_ = GRID_TAG;
        tagged.number_ = tag;
        return tagged;
    }

    /// What it is.
    grid_kind kind() const { return kind_; }

    /// The boolean or the number as a `T`, if it is one and a `T` holds it. A float never becomes an integer; an integer
    /// may be rounded to a float.
    template <class T>
    std::optional<T> to() const {
        static_assert(std::is_arithmetic_v<T>);
        if constexpr (std::is_same_v<T, bool>) {
            if (kind_ == GRID_BOOL) return number_ != 0;
        } else if constexpr (std::is_floating_point_v<T>) {
            if (kind_ == GRID_FLOAT) return static_cast<T>(real_);
            if (kind_ == GRID_UINT) return static_cast<T>(number_);
            if (kind_ == GRID_NEGATIVE) return -1 - static_cast<T>(number_);
        } else if (kind_ == GRID_UINT || (kind_ == GRID_NEGATIVE && std::is_signed_v<T>)) {
            if (number_ > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return std::nullopt;
            return static_cast<T>(kind_ == GRID_UINT ? number_ : ~number_);
        }
        return std::nullopt;
    }

    /// The text, or null if it is none.
    const std::string *text() const { return kind_ == GRID_TEXT ? &text_ : nullptr; }

    /// The bytes, or null if it is none.
    const Bytes *bytes() const { return kind_ == GRID_BYTES ? &bytes_ : nullptr; }

    /// The list, or null if it is none.
    const Array *array() const { return kind_ == GRID_ARRAY ? &array_ : nullptr; }

    /// The map, or null if it is none.
    const Map *map() const { return kind_ == GRID_MAP ? &map_ : nullptr; }

    /// What a map has for a key of text, or null.
    const Value *find(std::string_view key) const;

    /// What has a tag, or null if it has none.
    const Value *untagged() const { return kind_ == GRID_TAG ? &array_.front() : nullptr; }

    /// The number of the tag, or of the simple value.
    std::uint64_t number() const { return number_; }

    /// Takes in the next item. `depth` counts the lists, maps and tags around it. It is null after a mistake.
    static Value read(grid_reader &in, unsigned depth = 0);

    /// Writes the value.
    void write(grid_writer &out) const;

  private:
    template <class String>
    static String read_string(grid_reader &in, const grid_head &head);

    grid_kind kind_ = GRID_NULL;
    union {
        std::uint64_t number_ = 0; // of a negative integer, -1 - number_
        double real_;
    };
    std::string text_;
    Bytes bytes_;
    Array array_; // of a tag, the one value
    Map map_;
};

/// A key of a map and its value.
struct Entry {
    Value key;
    Value value;
};

inline const Value *Value::find(std::string_view key) const {
    for (const Entry &entry : map_)
        if (entry.key.kind_ == GRID_TEXT && entry.key.text_ == key) return &entry.value;
    return nullptr;
}

template <class String>
String Value::read_string(grid_reader &in, const grid_head &head) {
    String string;
    grid_bytes piece = {nullptr, 0};
    auto append = [&] { string.insert(string.end(), piece.data, piece.data + piece.length); };
    if (head.info != 31) {
        if (grid_raw_string(&in, &head, &piece)) append();
    } else {
        while (grid_raw_piece(&in, head.major, &piece)) append();
    }
    return string;
}

inline Value Value::read(grid_reader &in, unsigned depth) {
    grid_head head;
    if (depth > GRID_NESTING_MAX) grid_mistake(&in, "CBOR is nested too deep");
    if (!grid_raw_item(&in, &head)) return {};
    Value value;
    if (head.major == 2) value = read_string<Bytes>(in, head);
    else if (head.major == 3) value = read_string<std::string>(in, head);
    else if (head.major == 4 || head.major == 5) {
        value.kind_ = head.major == 4 ? GRID_ARRAY : GRID_MAP;
        if (!grid_raw_enter(&in, &head)) return {};
        while (grid_more(&in)) {
            Value first = read(in, depth + 1);
            if (head.major == 4) value.array_.push_back(std::move(first));
            else value.map_.push_back({std::move(first), read(in, depth + 1)});
        }
        grid_leave(&in);
    } else if (head.major == 6) {
        value = tagged(head.value, read(in, depth + 1));
    } else if (head.major == 7 && head.info >= 25) {
        value = grid_raw_float(&head);
    } else {
        value.number_ = head.value;
        if (head.major < 2) value.kind_ = head.major == 0 ? GRID_UINT : GRID_NEGATIVE;
        else if (head.value == 20 || head.value == 21) value = head.value == 21;
        else value.kind_ = head.value == 22 ? GRID_NULL : GRID_SIMPLE;
    }
    return value;
}

inline void Value::write(grid_writer &out) const {
    switch (kind_) {
    case GRID_UINT: return grid_put_uint(&out, number_);
    case GRID_NEGATIVE: return grid_raw_put_head(&out, 1, number_);
    case GRID_SIMPLE: return grid_raw_put_head(&out, 7, number_);
    case GRID_BOOL: return grid_put_bool(&out, number_ != 0);
    case GRID_FLOAT: return grid_put_double(&out, real_);
    case GRID_TEXT: return grid_put_text_n(&out, text_.data(), text_.size());
    case GRID_BYTES: return grid_put_bytes(&out, bytes_.data(), bytes_.size());
    case GRID_TAG: grid_put_tag(&out, number_); return array_.front().write(out);
    case GRID_ARRAY:
        grid_put_array(&out, array_.size());
        for (const Value &item : array_) item.write(out);
        return;
    case GRID_MAP:
        grid_put_map(&out, map_.size());
        for (const Entry &entry : map_) {
            entry.key.write(out);
            entry.value.write(out);
        }
        return;
    case GRID_NONE:
    case GRID_NULL: return grid_put_null(&out);
    }
}

/// A decoded message: a value, or the reason why it is none.
struct Decoded : std::optional<Value> {
    const char *error = nullptr;
};

/// Decodes a message.
inline Decoded decode(std::string_view message) {
    grid_reader in = grid_reader_new({reinterpret_cast<const std::uint8_t *>(message.data()), message.size()});
    Decoded decoded;
    Value value = Value::read(in);
    if (grid_done(&in)) decoded.emplace(std::move(value));
    decoded.error = in.error;
    return decoded;
}

/// Sends a value as CBOR.
inline void send_cbor(const Value &value) {
    grid_writer out = grid_writer_new();
    value.write(out);
    grid_send_cbor(&out);
}

} // namespace grid

#endif
