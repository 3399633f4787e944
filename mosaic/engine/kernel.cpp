// Exact softmax sums of noisy windows over training windows, on one thread.
//
// For every query (a window of a noisy image) and all candidates that it meets (windows of training images), with
// logits in bits
//
//     logit(q, c) = q . c + bias(c),      bias(c) = bias_factor |c|^2 + log_weight(c),
//
// the kernel adds 2^(logit - reference), and that times centre(c), into double-precision sums. The noisy images come
// scaled by log2(e) a / s^2, and bias_factor is -log2(e) a^2 / 2 s^2 (Kamb & Ganguli 2025, eq. 10, without the term
// of |q|^2 that all candidates share).
//
// Two ideas make it fast:
//
//   Lanes are images. A register holds one pixel of as many training images as it has lanes, so windows at any place
//   are loaded without shuffling.
//
//   Windows overlap. For a row of queries and a row of candidates, `gram` holds the products of their columns,
//   summed over the rows of the windows:  gram[a][b] = sum_u noisy(u, a) image(u, b). The logit of a pair of windows is
//   then the sum of k entries on a diagonal of gram: 2 k products and sums a comparison where a plain product takes k^2.
//   Soft windows, whose pixels count by the product of a row and a column profile, cost no more: the noisy rows come
//   scaled by the row profile, a copy for each row of queries, and a diagonal's entries count by the column profile.
//
// Sums are taken in an order that is the same for every window, so that equal windows give equal logits to the bit.
//
// The reference of a query is a logit that occurs, raised whenever a logit exceeds it by more than RAISE bits;
// groups of candidates with all logits more than DROP bits below it are skipped. As the largest weight is at
// least 1, skipping loses less than 2^-DROP a candidate: 2e-7 of the sum for 6e7 candidates. RAISE is so large that
// raising is rare, and so small that float sums of weights up to 2^RAISE cannot overflow within a block.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

// Windows along one axis. Queries are numbered from 0, and so are candidates.
struct Axis {
    std::int32_t queries, candidates, frame_length;
    const std::int32_t* frame;                     // which pixel of a training image stands where in its frame; -1 for zeros
    const std::int32_t* query_start;               // where a query's window begins in the noisy frame
    const std::int32_t *first_met, *last_met;      // a query meets candidates first_met to last_met - 1, at equal distances
    const std::int32_t *start, *length, *centre;   // of a candidate's window in the training frame; its queries' are as long
    const double* profile;                         // weight of a window's pixel by its place less that of the centre; null for all 1
};

struct Problem {
    const void* noisy;                             // batch x channels x noisy_rows x (noisy_cols + MARGIN), contiguous, scaled
    std::int32_t batch, channels, noisy_rows, noisy_cols;
    const float* images;                           // count x channels x rows x columns
    std::int64_t image_stride, channel_stride, row_stride, col_stride;
    std::int32_t count, diagnose;
    Axis rows, cols;
    double bias_factor;
    const double* log_weights;                     // count x row candidates x column candidates, in bits; or null for all 0
    std::int64_t weights_image_stride, weights_row_stride, weights_col_stride;
    double *reference, *total, *weighted;          // results: batch x queries (x channels)
    double *energy, *best;                         // if `diagnose`: sum of 2^(logit - reference) (logit - reference); largest logit
    std::int64_t* source;                          // if `diagnose`: (image, row, column) of the first candidate with it, as one number
    const std::uint8_t* only;                      // batch x queries: whether to compare a query; or null for all
    double* squares;                               // batch x queries x (1 + 2 channels), or null: of each image's total W and weighted
                                                   // V, the sums of W^2, of W V and of V^2 over images
};

namespace {

constexpr float RAISE = 40, DROP = 48;

// Columns at the end of a noisy row that are read, but do not count: rows are read A columns at a time.
constexpr int MARGIN = 8;

// Bytes of a register; the A noisy columns by B image columns of gram whose sums fit in the registers at once; and the
// neighbouring candidates whose logits are compared at once (GROUP).
#if defined(__AVX512F__)
constexpr int REGISTER = 64, A = 8, B = 3, GROUP = 6;
#elif defined(__AVX__)
constexpr int REGISTER = 32, A = 4, B = 2, GROUP = 4;
#else
constexpr int REGISTER = 16, A = 4, B = 2, GROUP = 4;
#endif
static_assert(A <= MARGIN, "noisy rows end too early");

// One value for the image in each lane. Weights are floats for logits in either precision.
template <class T> struct Lane {
    static constexpr int count = REGISTER / sizeof(T);
    typedef T Values __attribute__((vector_size(REGISTER)));
    typedef float Floats __attribute__((vector_size(count * sizeof(float))));
    typedef std::int32_t Ints __attribute__((vector_size(count * sizeof(float))));
};

template <class V> inline V load(const void* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <class V> inline void store(void* to, const V& v) { std::memcpy(to, &v, sizeof v); }

// Keep a value in a register. Without this, compilers load it again for every product, and loads limit the speed.
template <class V> inline void hold(V& v) {
#if defined(__x86_64__)
    asm("" : "+v"(v));
#endif
}

template <class T, class V> inline T largest(const V& v) {
    T result = v[0];
    for (std::size_t n = 1; n < sizeof(V) / sizeof(T); ++n) result = std::max<T>(result, v[n]);
    return result;
}

template <class T, class V> inline bool any_above(const V& v, T bound) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return _mm512_cmp_ps_mask((__m512)v, _mm512_set1_ps(bound), _CMP_GT_OQ);
    else return _mm512_cmp_pd_mask((__m512d)v, _mm512_set1_pd(bound), _CMP_GT_OQ);
#else
    return largest<T>(v) > bound;
#endif
}

// 2^x for x < 127 (2^-100 for smaller ones: denormal numbers are slow), relative error below 3e-7: 2^round(x) by its
// exponent bits, the rest by a polynomial.
template <class Floats, class Ints> inline Floats exp2_of(Floats x) {
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

// An array that begins at a cache line: a register-wide load across two lines costs twice as much.
template <class T> class Lines {
    std::unique_ptr<T, decltype(&std::free)> memory;
    std::size_t length;

public:
    explicit Lines(std::size_t size, const T& value = T{})
        : memory(static_cast<T*>(std::aligned_alloc(64, (size * sizeof(T) + 63) / 64 * 64)), &std::free), length(size) {
        if (!memory) throw std::bad_alloc();
        fill(value);
    }
    void fill(const T& value) { std::fill(memory.get(), memory.get() + length, value); }
    T* at(std::size_t i) const { return memory.get() + i; }
};

// CHANNELS is the number of channels where it is known to the compiler, which then keeps their sums in registers; else 0.
template <class T, int CHANNELS, bool DIAGNOSE> class Comparer {
    typedef typename Lane<T>::Values Values;
    typedef typename Lane<T>::Floats Floats;
    typedef typename Lane<T>::Ints Ints;
    static constexpr int LANES = Lane<T>::count;

    // The sums of one query over the images of a block, one value per lane; to diagnose, also the best candidate so far.
    struct Here {
        Floats weighted[std::max(CHANNELS, 1)] = {};
    };
    struct Elsewhere {
        Floats* weighted = nullptr;
    };
    struct Nothing {};
    struct Best {
        Floats energy = {};
        Values best = Values{} - std::numeric_limits<T>::infinity();
        Ints source = {};
    };
    struct Sums : std::conditional_t<DIAGNOSE, Best, Nothing>, std::conditional_t<CHANNELS == 0, Elsewhere, Here> {
        Floats total = {};
    };

    const Problem& problem;
    const Axis &rows, &cols;
    const T* const noisy;
    const int channels, queries;    // of one noisy image
    const int noisy_pitch;          // columns of a row of `noisy`
    const std::size_t line;         // values of a row of `block`, with room for A x B pieces that reach over the end
    int low, high;                  // least and greatest candidate start - query start along a row
    Lines<T> block, bias, gram;
    Lines<Sums> sums;
    Lines<Floats> weighted;         // the sums that lie elsewhere
    std::vector<T> reference;
    int reach = 0;                  // of windows along a row from their centre
    std::vector<T> profile;         // of columns, at places -reach to reach; empty where all weights are 1

public:
    explicit Comparer(const Problem& problem)
        : problem(problem), rows(problem.rows), cols(problem.cols), noisy(static_cast<const T*>(problem.noisy)),
          channels(CHANNELS == 0 ? problem.channels : CHANNELS), queries(rows.queries * cols.queries),
          noisy_pitch(problem.noisy_cols + MARGIN), line((std::size_t)(cols.frame_length + B) * LANES),
          low(std::numeric_limits<int>::max()), high(std::numeric_limits<int>::min()),
          block(channels * rows.frame_length * line),
          bias((std::size_t)rows.candidates * cols.candidates * LANES),
          gram((problem.noisy_cols + A) * line), sums((std::size_t)problem.batch * queries),
          weighted(CHANNELS == 0 ? (std::size_t)problem.batch * queries * channels : 0),
          reference((std::size_t)problem.batch * queries, -std::numeric_limits<T>::infinity()) {
        if constexpr (CHANNELS == 0)
            for (std::size_t q = 0; q < reference.size(); ++q) sums.at(q)->weighted = weighted.at(q * channels);
        for (int j = 0; j < cols.queries; ++j) {
            low = std::min(low, cols.start[cols.first_met[j]] - cols.query_start[j]);
            high = std::max(high, cols.start[cols.last_met[j] - 1] - cols.query_start[j]);
        }
        if (!cols.profile) return;
        for (int col = 0; col < cols.candidates; ++col) {
            const int before = cols.centre[col] - cols.start[col];
            reach = std::max({reach, before, cols.length[col] - 1 - before});
        }
        profile.assign(cols.profile - reach, cols.profile + reach + 1);
    }

    void run() {
        const std::size_t all = (std::size_t)problem.batch * queries;
        std::fill(problem.total, problem.total + all, 0.0);
        std::fill(problem.weighted, problem.weighted + all * count_channels(), 0.0);
        if constexpr (DIAGNOSE) {
            std::fill(problem.energy, problem.energy + all, 0.0);
            std::fill(problem.best, problem.best + all, -std::numeric_limits<double>::infinity());
        }
        if (problem.squares) std::fill(problem.squares, problem.squares + all * (1 + 2 * count_channels()), 0.0);
        for (int first = 0; first < problem.count; first += LANES) {
            load_block(first);
            for (int sample = 0; sample < problem.batch; ++sample)
                for (int row = 0; row < rows.candidates; ++row)  // in order: the first of equal candidates is kept
                    for (int i = 0; i < rows.queries; ++i)
                        if (rows.first_met[i] <= row && row < rows.last_met[i]) compare_rows(sample, i, row);
            for (std::size_t q = 0; q < all; ++q)
                if (is_compared(q)) collect(q, first);
        }
        std::copy(reference.begin(), reference.end(), problem.reference);
    }

private:
    int count_channels() const { return CHANNELS == 0 ? channels : CHANNELS; }

    bool is_compared(std::size_t query) const { return !problem.only || problem.only[query]; }

    // Bring the next images into lanes, and compute the biases of their windows. Lanes without an image get a bias too
    // low to count.
    void load_block(int first) {
        const int filled = std::min(LANES, problem.count - first);
        for (int c = 0; c < count_channels(); ++c)
            for (int i = 0; i < rows.frame_length; ++i) {
                const float* from = problem.images + first * problem.image_stride + c * problem.channel_stride +
                                    rows.frame[i] * problem.row_stride;
                T* to = block.at((c * rows.frame_length + i) * line);
                for (int j = 0; j < cols.frame_length; ++j, to += LANES) {
                    const bool inside = rows.frame[i] >= 0 && cols.frame[j] >= 0;
                    const std::int64_t place = cols.frame[j] * problem.col_stride;
                    for (int n = 0; n < LANES; ++n)
                        to[n] = inside && n < filled ? from[n * problem.image_stride + place] : 0;
                }
            }
        Lines<T> squares(line);
        for (int row = 0; row < rows.candidates; ++row) {
            squares.fill(0);
            for (int c = 0; c < count_channels(); ++c)
                for (int u = 0; u < rows.length[row]; ++u) {
                    const T* pixels = block.at((c * rows.frame_length + rows.start[row] + u) * line);
                    const T weight = weight_of(rows, row, u);
                    for (std::size_t place = 0; place < line; ++place) *squares.at(place) += weight * pixels[place] * pixels[place];
                }
            for (int col = 0; col < cols.candidates; ++col) {
                Values sum = {};
                for (int v = 0; v < cols.length[col]; ++v) sum += weight_of(cols, col, v) * load<Values>(squares.at((std::size_t)(cols.start[col] + v) * LANES));
                const std::size_t window = (std::size_t)row * cols.candidates + col;
                T* to = bias.at(window * LANES);
                store(to, sum * (T)problem.bias_factor);
                for (int n = filled; n < LANES; ++n) to[n] = T(-1e30);
                if (!problem.log_weights) continue;
                const double* weights = problem.log_weights + first * problem.weights_image_stride +
                                        row * problem.weights_row_stride + col * problem.weights_col_stride;
                for (int n = 0; n < filled; ++n) to[n] += (float)weights[n * problem.weights_image_stride];
            }
        }
    }

    // Weight of the pixel at place u of a candidate's window along an axis.
    static T weight_of(const Axis& axis, int candidate, int u) {
        return axis.profile ? (T)axis.profile[axis.start[candidate] + u - axis.centre[candidate]] : T(1);
    }

    // Compare one row of queries with one row of candidates, left to right. Neighbouring queries share noisy columns: `filled`
    // counts those whose products are in gram, and each query adds only the columns that are new in its window, A at a time. Columns
    // that only queries which are left out would see are skipped.
    // Image columns that no query can meet there (outside low .. high) are left out.
    void compare_rows(int sample, int i, int row) {
        const T* queries_from = noisy + ((std::size_t)sample * count_channels() * problem.noisy_rows + rows.query_start[i]) * noisy_pitch;
        const T* candidates_from = block.at(rows.start[row] * line);
        int filled = 0;
        for (int j = 0; j < cols.queries; ++j) {
            const std::size_t query = (std::size_t)sample * queries + i * cols.queries + j;
            if (!is_compared(query)) continue;
            int candidate = cols.first_met[j];
            const int width = cols.length[candidate];
            for (filled = std::max<int>(filled, cols.query_start[j]); filled < cols.query_start[j] + width; filled += A) {
                const int last = std::min(cols.frame_length, filled + A + high);
                for (int b = std::max(0, filled + low); b < last; b += B)
                    fill_gram(queries_from + filled, candidates_from + b * LANES, rows.length[row], gram.at(filled * line + b * LANES));
            }
            const T* diagonal = gram.at(cols.query_start[j] * line + cols.start[candidate] * LANES);
            std::size_t window = (std::size_t)row * cols.candidates + candidate;
            const T* centres = block.at(rows.centre[row] * line + cols.centre[candidate] * LANES);
            const T* weights = profile.empty() ? nullptr : &profile[reach + cols.start[candidate] - cols.centre[candidate]];
            Sums mine = *sums.at(query);
            for (; candidate + GROUP <= cols.last_met[j]; candidate += GROUP, window += GROUP, diagonal += GROUP * LANES, centres += GROUP * LANES)
                compare<GROUP>(query, diagonal, weights, width, window, centres, mine);
            for (; candidate < cols.last_met[j]; ++candidate, ++window, diagonal += LANES, centres += LANES)
                compare<1>(query, diagonal, weights, width, window, centres, mine);
            *sums.at(query) = mine;
        }
    }

    // gram[a][b] = sum over channels and window rows, for A x B neighbouring columns.
    void fill_gram(const T* queries_from, const T* candidates_from, int height, T* to) const {
        Values products[A][B] = {};
        for (int c = 0; c < count_channels(); ++c) {
            const T* query = queries_from + (std::size_t)c * problem.noisy_rows * noisy_pitch;
            const T* candidate = candidates_from + c * rows.frame_length * line;
            for (int u = 0; u < height; ++u, query += noisy_pitch, candidate += line) {
                Values column[B];
#pragma GCC unroll 8
                for (int m = 0; m < B; ++m) {
                    column[m] = load<Values>(candidate + m * LANES);
                    hold(column[m]);
                }
#pragma GCC unroll 8
                for (int i = 0; i < A; ++i)
#pragma GCC unroll 8
                    for (int m = 0; m < B; ++m) products[i][m] += query[i] * column[m];
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < A; ++i)
#pragma GCC unroll 8
            for (int m = 0; m < B; ++m) store(to + i * line + m * LANES, products[i][m]);
    }

    // Compare one query with COUNT neighbouring candidates: their logits are sums along neighbouring diagonals of gram. The
    // first candidates of a query always pass the test and raise its reference, which starts at minus infinity.
    template <int COUNT>
    inline __attribute__((always_inline)) void compare(std::size_t query, const T* diagonal, const T* weights, int width, std::size_t window, const T* centres, Sums& mine) {
        Values logits[COUNT];
#pragma GCC unroll 8
        for (int m = 0; m < COUNT; ++m) logits[m] = load<Values>(bias.at((window + m) * LANES));
        if (weights)
            for (int v = 0; v < width; ++v, diagonal += line + LANES)
#pragma GCC unroll 8
                for (int m = 0; m < COUNT; ++m) logits[m] += weights[v] * load<Values>(diagonal + m * LANES);
        else
            for (int v = 0; v < width; ++v, diagonal += line + LANES)
#pragma GCC unroll 8
                for (int m = 0; m < COUNT; ++m) logits[m] += load<Values>(diagonal + m * LANES);
        Values top = logits[0];
#pragma GCC unroll 8
        for (int m = 1; m < COUNT; ++m) top = logits[m] > top ? logits[m] : top;
        if (!any_above(top, reference[query] - DROP)) return;
        if (__builtin_expect(any_above(top, reference[query] + RAISE), 0)) raise(query, largest<T>(top), mine);
        const T base = reference[query];
        Floats shares[COUNT];
#pragma GCC unroll 8
        for (int m = 0; m < COUNT; ++m) {
            const Floats relative = __builtin_convertvector(logits[m] - base, Floats);
            shares[m] = exp2_of<Floats, Ints>(relative);
            mine.total += shares[m];
            if constexpr (DIAGNOSE) {
                mine.energy += shares[m] * (relative > Floats{} - 100.f ? relative : Floats{} - 100.f);  // as exp2_of does
                const auto better = logits[m] > mine.best;
                mine.best = better ? logits[m] : mine.best;
                mine.source = __builtin_convertvector(better, Ints) ? Ints{} + (std::int32_t)(window + m) : mine.source;
            }
        }
        for (int c = 0; c < count_channels(); ++c, centres += rows.frame_length * line) {
            Floats sum = mine.weighted[c];
#pragma GCC unroll 8
            for (int m = 0; m < COUNT; ++m) sum += shares[m] * __builtin_convertvector(load<Values>(centres + m * LANES), Floats);
            mine.weighted[c] = sum;
        }
    }

    // Raise the reference of a query to one of its logits, and restate all its sums relative to it. With rise = to - reference
    // every weight is multiplied by 2^-rise, and every (logit - reference) in the energy falls by rise.
    void __attribute__((noinline)) raise(std::size_t query, T to, Sums& mine) {
        const bool first = std::isinf(reference[query]);  // nothing summed yet
        const double rise = first ? 0 : (double)to - reference[query], factor = std::exp2(-rise);
        if constexpr (DIAGNOSE) {
            mine.energy = (mine.energy - (float)rise * mine.total) * (float)factor;
            problem.energy[query] = (problem.energy[query] - rise * problem.total[query]) * factor;
        }
        mine.total *= (float)factor;
        problem.total[query] *= factor;
        for (int c = 0; c < count_channels(); ++c) {
            mine.weighted[c] *= (float)factor;
            problem.weighted[query * count_channels() + c] *= factor;
        }
        if (problem.squares)
            for (int m = 0; m < 1 + 2 * count_channels(); ++m) problem.squares[query * (1 + 2 * count_channels()) + m] *= factor * factor;
        reference[query] = to;
    }

    // Add up the lanes of a finished block, in double precision. Lanes are images in order, and only a strictly larger logit
    // replaces the best one: of equal candidates the one with the first image, row and column stays.
    void collect(std::size_t query, int first) {
        Sums& mine = *sums.at(query);
        for (int n = 0; n < LANES; ++n) {
            problem.total[query] += mine.total[n];
            for (int c = 0; c < count_channels(); ++c) problem.weighted[query * count_channels() + c] += mine.weighted[c][n];
            if (problem.squares) add_squares(problem.squares + query * (1 + 2 * count_channels()), mine, n);
            if constexpr (DIAGNOSE) {
                problem.energy[query] += mine.energy[n];
                if (mine.best[n] > problem.best[query]) {
                    problem.best[query] = mine.best[n];
                    problem.source[query] = (std::int64_t)(first + n) * rows.candidates * cols.candidates + mine.source[n];
                }
            }
        }
        Sums empty;
        if constexpr (CHANNELS == 0) {
            std::fill(mine.weighted, mine.weighted + channels, Floats{});
            empty.weighted = mine.weighted;
        }
        mine = empty;
    }

    // A lane is one image, so its sums are those of the image.
    void add_squares(double* squares, const Sums& mine, int n) const {
        const double total = mine.total[n];
        squares[0] += total * total;
        for (int c = 0; c < count_channels(); ++c) {
            const double sum = mine.weighted[c][n];
            squares[1 + c] += total * sum;
            squares[1 + count_channels() + c] += sum * sum;
        }
    }
};

template <class T, int CHANNELS> void run_with(const Problem& problem) {
    if (problem.diagnose) Comparer<T, CHANNELS, true>(problem).run();
    else Comparer<T, CHANNELS, false>(problem).run();
}

template <class T> void run(const Problem& problem) {
    if (problem.channels == 1) run_with<T, 1>(problem);
    else if (problem.channels == 3) run_with<T, 3>(problem);
    else run_with<T, 0>(problem);
}

// No exception may cross the C interface.
template <class T> int guarded(const Problem& problem) {
    try {
        run<T>(problem);
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // namespace

// Logits in float or in double; 0, or 1 if there is not enough memory.
extern "C" int mosaic_compare_float(const Problem* problem) { return guarded<float>(*problem); }
extern "C" int mosaic_compare_double(const Problem* problem) { return guarded<double>(*problem); }

// What kernel.py must share: of each structure its size, then the offset of each member, in order; then MARGIN.
static const std::int64_t layout[] = {
    sizeof(Axis), offsetof(Axis, queries), offsetof(Axis, candidates), offsetof(Axis, frame_length),
    offsetof(Axis, frame), offsetof(Axis, query_start), offsetof(Axis, first_met), offsetof(Axis, last_met),
    offsetof(Axis, start), offsetof(Axis, length), offsetof(Axis, centre), offsetof(Axis, profile),
    sizeof(Problem), offsetof(Problem, noisy), offsetof(Problem, batch), offsetof(Problem, channels),
    offsetof(Problem, noisy_rows), offsetof(Problem, noisy_cols), offsetof(Problem, images),
    offsetof(Problem, image_stride), offsetof(Problem, channel_stride), offsetof(Problem, row_stride),
    offsetof(Problem, col_stride), offsetof(Problem, count), offsetof(Problem, diagnose), offsetof(Problem, rows),
    offsetof(Problem, cols), offsetof(Problem, bias_factor), offsetof(Problem, log_weights),
    offsetof(Problem, weights_image_stride), offsetof(Problem, weights_row_stride),
    offsetof(Problem, weights_col_stride), offsetof(Problem, reference), offsetof(Problem, total),
    offsetof(Problem, weighted), offsetof(Problem, energy), offsetof(Problem, best), offsetof(Problem, source),
    offsetof(Problem, only), offsetof(Problem, squares),
    MARGIN,
};
extern "C" const std::int64_t* mosaic_layout() { return layout; }
extern "C" std::int64_t mosaic_layout_length() { return sizeof layout / sizeof *layout; }
