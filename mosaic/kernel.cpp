// Exact softmax sums of noisy windows over training windows, on one thread.
//
// For every query window q and all candidate windows c of some images, with logits in bits
//
//     logit(q, c) = q . c + bias(c),      bias(c) = bias_factor |c|^2,
//
// the kernel adds 2^(logit - reference) and 2^(logit - reference) centre(c) into double-precision sums. Queries
// come scaled by log2(e) a / s^2, and bias_factor is -log2(e) a^2 / 2 s^2 (Kamb & Ganguli 2025, eq. 10, without
// the term of |q|^2 that all candidates share). Logits never leave the registers and the first-level cache:
// candidates are gathered into panels that fit the second-level cache, and each register tile of rows x columns
// logits is exponentiated where it was computed.
//
// The reference of a query is a logit that occurs, raised whenever a logit exceeds it by more than RAISE bits;
// register tiles with all logits more than DROP bits below their references are skipped. As the largest weight
// is at least 1, skipping loses less than 2^-DROP per candidate: 2e-7 of the sum for 6e7 candidates.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

// Windows of `height` x `width` pixels, `rows` x `cols` of them in each of `count` images of `channels` channels; pixel
// (i, j) of channel c of image n is at pixels[n * image_stride + c * channel_stride + i * row_stride + j].
struct Windows {
    const float* pixels;
    std::int64_t image_stride, channel_stride, row_stride;
    std::int32_t count, channels, rows, cols, height, width, centre_row, centre_col;
};

namespace {

constexpr int COLUMNS = 48;          // candidates of a register tile
constexpr float RAISE = 40, DROP = 48;
constexpr std::size_t PANEL_BYTES = 384 * 1024;

template <class T> struct Wide {     // as many T as one 64-byte register holds, or the compiler's equivalent
    typedef T type __attribute__((vector_size(64)));
    static constexpr int lanes = 64 / sizeof(T);
};
typedef Wide<float>::type Floats;
typedef std::int32_t Ints __attribute__((vector_size(64)));

template <class V, class T> inline V load(const T* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

// Store a register of logits as floats.
inline void narrow(const Floats& logits, float* to) { std::memcpy(to, &logits, sizeof logits); }
inline void narrow(const Wide<double>::type& logits, float* to) {
    typedef float Half __attribute__((vector_size(32)));
    const Half half = __builtin_convertvector(logits, Half);
    std::memcpy(to, &half, sizeof half);
}

// 2^x for -100 <= x < 127 (2^-100 below: denormal numbers are slow), relative error below 3e-7: 2^round(x) by its exponent bits, the rest by a polynomial.
inline Floats exp2_of(Floats x) {
    const Floats magic = Floats{} + 12582912.f;  // 1.5 * 2^23: adding it leaves round(x) in the lowest bits
    x = x > Floats{} - 100.f ? x : Floats{} - 100.f;
    const Floats shifted = x + magic;
    const Floats f = x - (shifted - magic);
    Floats p = Floats{} + 1.3333558146e-3f;
    p = p * f + 9.618129108e-3f;
    p = p * f + 5.550410866e-2f;
    p = p * f + 2.402265070e-1f;
    p = p * f + 6.931471806e-1f;
    p = p * f + 1.f;
    const Ints exponent = ((Ints)shifted - (Ints)magic) << 23;
    return (Floats)((Ints)p + exponent);
}

// Largest element of a register, by halves: the compiler turns each halving into one extraction.
template <class T, int BYTES, class V> inline T largest(const V& v) {
    if constexpr (BYTES == 16) {
        T result = v[0];
        for (int i = 1; i < BYTES / static_cast<int>(sizeof(T)); ++i) result = std::max<T>(result, v[i]);
        return result;
    } else {
        typedef T Half __attribute__((vector_size(BYTES / 2)));
        Half low, high;
        std::memcpy(&low, &v, sizeof low);
        std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
        return largest<T, BYTES / 2>(low > high ? low : high);
    }
}

inline float sum(const Floats& v) {
    float result = 0;
    for (int i = 0; i < Wide<float>::lanes; ++i) result += v[i];
    return result;
}

// An array that begins at a cache line: register-wide loads that straddle two lines cost twice.
template <class T> class Lines {
    std::unique_ptr<T, decltype(&std::free)> memory;

public:
    explicit Lines(std::size_t size)
        : memory(static_cast<T*>(std::aligned_alloc(64, (size * sizeof(T) + 63) / 64 * 64)), &std::free) {
        if (!memory) throw std::bad_alloc();
        std::fill(memory.get(), memory.get() + size, T(0));
    }
    T& operator[](std::size_t i) { return memory.get()[i]; }
    const T& operator[](std::size_t i) const { return memory.get()[i]; }
};

// Running sums of a group of queries.
template <class T, int CHANNELS> struct Sums {
    T* reference;
    double* total;
    double* weighted;

    void rescale(int row, T rise) {
        const double factor = std::exp2(-static_cast<double>(rise));
        reference[row] += rise;
        total[row] *= factor;
        for (int c = 0; c < CHANNELS; ++c) weighted[row * CHANNELS + c] *= factor;
    }
};

// Gathered candidates: row k of the panel holds pixel k of every window, column m candidate m. Columns past `filled` up to
// `width`, a whole number of register tiles, are padding with a logit too low to count.
template <class T, int CHANNELS> struct Panel {
    int pixels, stride, width = 0;
    Lines<T> values, bias;
    Lines<float> centres;

    Panel(int pixels, int stride)
        : pixels(pixels), stride(stride), values((std::size_t)pixels * stride), bias(stride),
          centres((std::size_t)CHANNELS * stride) {}

    // Fill with `filled` windows from number `first` on. Neighbouring windows of a row are neighbouring pixels at each
    // place of the window, so they are copied run by run.
    void gather(const Windows& from, std::int64_t first, int filled, T bias_factor) {
        const std::int64_t per_image = (std::int64_t)from.rows * from.cols;
        for (int m = 0; m < filled;) {
            const std::int64_t number = first + m;
            const int row = static_cast<int>(number % per_image) / from.cols;
            const int col = static_cast<int>(number % per_image) % from.cols;
            const int run = std::min(from.cols - col, filled - m);
            const float* corner =
                from.pixels + number / per_image * from.image_stride + row * from.row_stride + col;
            copy_run(from, corner, m, run);
            m += run;
        }
        width = (filled + COLUMNS - 1) / COLUMNS * COLUMNS;
        std::fill(&bias[0], &bias[0] + width, T(0));
        for (int k = 0; k < pixels; ++k) {
            T* line = &values[(std::size_t)k * stride];
            std::fill(line + filled, line + width, T(0));
            for (int m = 0; m < filled; ++m) bias[m] += line[m] * line[m];
        }
        for (int m = 0; m < width; ++m) bias[m] = m < filled ? bias[m] * bias_factor : T(-1e30);
        for (int c = 0; c < CHANNELS; ++c)
            std::fill(&centres[(std::size_t)c * stride] + filled, &centres[(std::size_t)c * stride] + width, 0.f);
    }

    void copy_run(const Windows& from, const float* corner, int m, int run) {
        int k = 0;
        for (int c = 0; c < CHANNELS; ++c, corner += from.channel_stride) {
            for (int i = 0; i < from.height; ++i)
                for (int j = 0; j < from.width; ++j, ++k) {
                    const float* pixel = corner + i * from.row_stride + j;
                    T* to = &values[(std::size_t)k * stride + m];
                    for (int t = 0; t < run; ++t) to[t] = pixel[t];  // short runs: a call to copy costs more
                }
            const float* centre = corner + from.centre_row * from.row_stride + from.centre_col;
            std::copy(centre, centre + run, &centres[(std::size_t)c * stride + m]);
        }
    }
};

// Compare ROWS queries (packed, window pixel by window pixel) with a panel of candidates.
template <class T, int ROWS, int CHANNELS>
void compare(const T* queries, const Panel<T, CHANNELS>& panel, Sums<T, CHANNELS> sums) {
    typedef typename Wide<T>::type V;
    constexpr int PARTS = COLUMNS / Wide<T>::lanes;
    Floats total[ROWS] = {}, weighted[ROWS][CHANNELS] = {};
    for (int m = 0; m < panel.width; m += COLUMNS) {
        V logits[ROWS][PARTS];       // relative to each query's reference
        for (int j = 0; j < PARTS; ++j) {
            const V start = load<V>(&panel.bias[m + j * Wide<T>::lanes]);
            for (int i = 0; i < ROWS; ++i) logits[i][j] = start - sums.reference[i];
        }
        const T* candidates = &panel.values[m];
        for (int k = 0; k < panel.pixels; ++k, candidates += panel.stride) {
            V column[PARTS];
            for (int j = 0; j < PARTS; ++j) column[j] = load<V>(candidates + j * Wide<T>::lanes);
#pragma GCC unroll 8
            for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 8
                for (int j = 0; j < PARTS; ++j) logits[i][j] += queries[k * ROWS + i] * column[j];
        }
        V top = logits[0][0];
        for (int i = 0; i < ROWS; ++i)
            for (int j = 0; j < PARTS; ++j) top = logits[i][j] > top ? logits[i][j] : top;
        const T highest = largest<T, 64>(top);
        if (highest < -DROP) continue;
        if (highest > RAISE) {
            for (int i = 0; i < ROWS; ++i) {
                V row = logits[i][0];
                for (int j = 1; j < PARTS; ++j) row = logits[i][j] > row ? logits[i][j] : row;
                const T rise = largest<T, 64>(row);
                if (rise <= RAISE) continue;
                const float factor = std::exp2(-static_cast<float>(rise));
                total[i] *= factor;
                for (int c = 0; c < CHANNELS; ++c) weighted[i][c] *= factor;
                sums.rescale(i, rise);
                for (int j = 0; j < PARTS; ++j) logits[i][j] -= rise;
            }
        }
        for (int i = 0; i < ROWS; ++i) {
            alignas(64) float exponents[COLUMNS];
            for (int j = 0; j < PARTS; ++j) narrow(logits[i][j], exponents + j * Wide<T>::lanes);
            for (int j = 0; j < COLUMNS; j += Wide<float>::lanes) {
                const Floats weights = exp2_of(load<Floats>(exponents + j));
                total[i] += weights;
                for (int c = 0; c < CHANNELS; ++c)
                    weighted[i][c] += weights * load<Floats>(&panel.centres[(std::size_t)c * panel.stride + m + j]);
            }
        }
    }
    for (int i = 0; i < ROWS; ++i) {
        sums.total[i] += sum(total[i]);
        for (int c = 0; c < CHANNELS; ++c) sums.weighted[i * CHANNELS + c] += sum(weighted[i][c]);
    }
}

template <class T, int ROWS, int CHANNELS>
void compare_all(const T* queries, int query_count, const Windows& windows, T bias_factor, double* reference,
                 double* total, double* weighted) {
    const int pixels = CHANNELS * windows.height * windows.width;
    const int blocks = (query_count + ROWS - 1) / ROWS;
    const int fitting = static_cast<int>(PANEL_BYTES / (sizeof(T) * pixels)) / COLUMNS * COLUMNS;
    const int stride = std::clamp(fitting, COLUMNS, 40 * COLUMNS);

    std::vector<T> packed((std::size_t)blocks * pixels * ROWS, T(0));  // the last block's missing queries are zero
    for (int q = 0; q < query_count; ++q)
        for (int k = 0; k < pixels; ++k)
            packed[((std::size_t)(q / ROWS) * pixels + k) * ROWS + q % ROWS] = queries[(std::size_t)q * pixels + k];

    Panel<T, CHANNELS> panel(pixels, stride);
    std::vector<T> references((std::size_t)blocks * ROWS, T(0));
    std::vector<double> totals((std::size_t)blocks * ROWS, 0.0), sums((std::size_t)blocks * ROWS * CHANNELS, 0.0);

    const std::int64_t all = (std::int64_t)windows.count * windows.rows * windows.cols;
    for (std::int64_t first = 0; first < all; first += stride) {
        panel.gather(windows, first, static_cast<int>(std::min<std::int64_t>(stride, all - first)), bias_factor);
        if (first == 0)  // the first candidate's logit serves as every query's first reference
            for (int q = 0; q < query_count; ++q) {
                references[q] = panel.bias[0];
                for (int k = 0; k < pixels; ++k)
                    references[q] += queries[(std::size_t)q * pixels + k] * panel.values[(std::size_t)k * stride];
            }
        for (int b = 0; b < blocks; ++b)
            compare<T, ROWS, CHANNELS>(&packed[(std::size_t)b * pixels * ROWS], panel,
                                       {&references[b * ROWS], &totals[b * ROWS], &sums[b * ROWS * CHANNELS]});
    }
    std::copy(references.begin(), references.begin() + query_count, reference);
    std::copy(totals.begin(), totals.begin() + query_count, total);
    std::copy(sums.begin(), sums.begin() + (std::ptrdiff_t)query_count * CHANNELS, weighted);
}

}  // namespace

extern "C" {

// Sums over all `windows` for `query_count` queries (row-major, channels * height * width pixels each). Outputs: reference
// and total (query_count), weighted (query_count x channels). Returns 0, or 1 for a number of channels not built in.
int mosaic_compare_float(const float* queries, std::int32_t query_count, const Windows* windows, double bias_factor,
                         double* reference, double* total, double* weighted) {
    if (windows->channels == 1) compare_all<float, 8, 1>(queries, query_count, *windows, (float)bias_factor, reference, total, weighted);
    else if (windows->channels == 3) compare_all<float, 8, 3>(queries, query_count, *windows, (float)bias_factor, reference, total, weighted);
    else return 1;
    return 0;
}

int mosaic_compare_double(const double* queries, std::int32_t query_count, const Windows* windows, double bias_factor,
                          double* reference, double* total, double* weighted) {
    if (windows->channels == 1) compare_all<double, 4, 1>(queries, query_count, *windows, bias_factor, reference, total, weighted);
    else if (windows->channels == 3) compare_all<double, 4, 3>(queries, query_count, *windows, bias_factor, reference, total, weighted);
    else return 1;
    return 0;
}

}
