// Vectors that may be longer than the processor's registers: `Lanes<T, N>` is the compiler's own vector
// where a register holds it, else two halves of N / 2 lanes each.
//
// Why not one long vector of the compiler's: GCC takes those apart lane by lane for many operations.
#pragma once

#include <cstring>
#include <type_traits>
#include <utility>

namespace sd::SD_ISA {

#define SD_INLINE [[gnu::always_inline]] static inline
#define SD_INLINED __attribute__((always_inline))   // a lambda

#if defined(__AVX512BW__)
constexpr size_t REGISTER = 64;
#elif defined(__AVX2__)
constexpr size_t REGISTER = 32;
#else
constexpr size_t REGISTER = 16;
#endif

template <class H> struct Halves;

template <class T, int N, bool FITS = sizeof(T) * N <= REGISTER> struct Choice {
    typedef T type __attribute__((vector_size(sizeof(T) * N)));
};
template <class T, int N> struct Choice<T, N, false> {
    using type = Halves<typename Choice<T, N / 2>::type>;
};
template <class T, int N> using Lanes = typename Choice<T, N>::type;

template <class V> using Element = std::decay_t<decltype(std::declval<const V&>()[0])>;
template <class V> constexpr int LENGTH = int(sizeof(V) / sizeof(Element<V>));

template <class H> struct Halves {
    H low, high;

    [[gnu::always_inline]] Element<H> operator[](int i) const {
        return i < LENGTH<H> ? low[i] : high[i - LENGTH<H>];
    }
    [[gnu::always_inline]] Halves& operator+=(const Halves& b) { return low += b.low, high += b.high, *this; }
    [[gnu::always_inline]] Halves& operator-=(const Halves& b) { return low -= b.low, high -= b.high, *this; }
    [[gnu::always_inline]] Halves& operator|=(const Halves& b) { return low |= b.low, high |= b.high, *this; }
    [[gnu::always_inline]] Halves operator-() const { return {-low, -high}; }
    [[gnu::always_inline]] Halves operator~() const { return {~low, ~high}; }
};

template <class V> constexpr bool IS_HALVES = false;
template <class H> constexpr bool IS_HALVES<Halves<H>> = true;

template <class H> SD_INLINE Halves<H> both(const H& low, const H& high) { return {low, high}; }

// Lane by lane; a number stands for a vector of it.
#define SD_LANEWISE(op)                                                                         \
    template <class H> SD_INLINE auto operator op(const Halves<H>& a, const Halves<H>& b) {     \
        return both(a.low op b.low, a.high op b.high);                                          \
    }                                                                                           \
    template <class H, class S, class = std::enable_if_t<std::is_arithmetic_v<S>>>              \
    SD_INLINE auto operator op(const Halves<H>& a, S b) {                                       \
        return both(a.low op Element<H>(b), a.high op Element<H>(b));                           \
    }                                                                                           \
    template <class H, class S, class = std::enable_if_t<std::is_arithmetic_v<S>>>              \
    SD_INLINE auto operator op(S a, const Halves<H>& b) {                                       \
        return both(Element<H>(a) op b.low, Element<H>(a) op b.high);                           \
    }
SD_LANEWISE(+)
SD_LANEWISE(-)
SD_LANEWISE(*)
SD_LANEWISE(/)
SD_LANEWISE(&)
SD_LANEWISE(|)
SD_LANEWISE(<<)
SD_LANEWISE(>>)
SD_LANEWISE(>=)
SD_LANEWISE(>)
SD_LANEWISE(==)
SD_LANEWISE(!=)
#undef SD_LANEWISE

template <class V> SD_INLINE V load(const void* p) {
    if constexpr (IS_HALVES<V>) {
        using H = decltype(V::low);
        return {load<H>(p), load<H>(static_cast<const char*>(p) + sizeof(H))};
    } else {
        V v;
        std::memcpy(&v, p, sizeof v);
        return v;
    }
}

template <class V> SD_INLINE void store(void* p, const V& v) {
    if constexpr (IS_HALVES<V>) {
        store(p, v.low);
        store(static_cast<char*>(p) + sizeof v.low, v.high);
    } else {
        std::memcpy(p, &v, sizeof v);
    }
}

/// The same bits as another type of vector.
template <class To, class From> SD_INLINE To as(const From& v) {
    if constexpr (IS_HALVES<To>) {
        using H = decltype(To::low);
        return {as<H>(v.low), as<H>(v.high)};
    } else {
        return (To)v;
    }
}

/// The two halves of a vector of any kind, and back.
template <int FIRST, class V, int... I> SD_INLINE auto lanes_from(const V& v, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(v, v, (FIRST + I)...);
}
template <class V> SD_INLINE auto low_half(const V& v) {
    if constexpr (IS_HALVES<V>) return v.low;
    else return lanes_from<0>(v, std::make_integer_sequence<int, LENGTH<V> / 2>());
}
template <class V> SD_INLINE auto high_half(const V& v) {
    if constexpr (IS_HALVES<V>) return v.high;
    else return lanes_from<LENGTH<V> / 2>(v, std::make_integer_sequence<int, LENGTH<V> / 2>());
}
template <class V, int... I> SD_INLINE auto joined(const V& a, const V& b, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(a, b, I...);
}

/// Lane by lane to another type of number.
template <class To, class From> SD_INLINE To convert(const From& v) {
    constexpr int N = LENGTH<To>;
    using Half = Lanes<Element<To>, N / 2>;
    if constexpr (IS_HALVES<To>) {
        return {convert<Half>(low_half(v)), convert<Half>(high_half(v))};
    } else if constexpr (IS_HALVES<From>) {
        return joined(convert<Half>(v.low), convert<Half>(v.high), std::make_integer_sequence<int, N>());
    } else {
        return __builtin_convertvector(v, To);
    }
}

}  // namespace sd::SD_ISA
