//! What is asked of the record, question by question: the terminal, the report and the documents
//! show these sections.

use crate::chart::Chart;
use crate::charts::{self, Charts};
use crate::losses::{self, Losses};
use crate::record::Record;
use crate::table::Table;
use crate::tables;

/// A question: what was measured and how, where punctual loses, and the answers.
pub struct Section {
    /// Of the part, as it is asked for.
    pub name: &'static str,
    /// What a list of losses calls it.
    pub(crate) title: &'static str,
    pub(crate) question: &'static str,
    pub(crate) method: &'static str,
    /// None: there is nobody to lose to.
    pub(crate) losses: Option<fn(&Record) -> Losses>,
    pub(crate) charts: fn(&Record) -> Charts,
    pub tables: &'static [Titled],
}

/// A table, with its name in the documents' marks and its title elsewhere.
pub struct Titled {
    pub(crate) name: &'static str,
    pub title: &'static str,
    pub table: fn(&Record) -> Option<Table>,
}

const fn table(
    name: &'static str,
    title: &'static str,
    table: fn(&Record) -> Option<Table>,
) -> Titled {
    Titled { name, title, table }
}

pub const SECTIONS: [Section; 14] = [
    Section {
        name: "memory",
        title: "Memory",
        question: "How much memory?",
        method: "\
            Bytes that a full cache has asked the allocator for, its contents included; pages that \
            the kernel holds for a process with one cache.",
        losses: Some(losses::memory),
        charts: charts::memory,
        tables: &[
            table("memory", "Bytes an entry", tables::memory),
            table("said", "Bytes, said beforehand and counted", tables::said),
            table("cost", "Of what `unsync::Cache` consists, bytes an entry", tables::cost),
            table("resident", "Resident memory", tables::resident),
        ],
    },
    Section {
        name: "promptness",
        title: "Promptness",
        question: "When are expired entries freed?",
        method: "\
            A hundred thousand entries with a TTL of two seconds. Late is how long after its \
            deadline an entry's value was dropped. Who frees nothing lies at 100 %, on each other.",
        losses: Some(losses::promptness),
        charts: charts::promptness,
        tables: &[table("promptness", "Held, and late", tables::promptness)],
    },
    Section {
        name: "speed",
        title: "Speed",
        question: "How fast?",
        method: "\
            All caches of a line take turns, round by round. quick_cache does not expire entries; \
            a sharded map bounds nothing either: no cache can pass it. Where stretto is missing, \
            it would look at all entries to evict one.",
        losses: Some(losses::speed),
        charts: charts::speed,
        tables: &[
            table("speed", "punctual and the best peers", tables::speed_summary),
            table("speed-all", "Speed of all", tables::speed),
        ],
    },
    Section {
        name: "cores",
        title: "Cores",
        question: "Is it faster with every core?",
        method: "\
            Million calls a second of all threads together, `u64` to `u64`: medians of rounds in \
            which all caches take turns. Each thread has its own keys of half a million. Get/insert \
            overwrites; read-through has room for a tenth of the keys, and inserts what is not \
            there. In the herd all threads ask for the same keys that are not there, and one of \
            them makes the value, of those caches that can do so. p99.9 is of the calls of most \
            threads, each timed by itself. What expires nothing has no deadlines, and the map has \
            no bound. scc evicts some before it is full.",
        losses: None,
        charts: charts::cores,
        tables: &[
            table("cores", "punctual and the best peers, by threads", tables::cores_summary),
            table("cores-all", "Million calls a second, by threads", tables::cores),
        ],
    },
    Section {
        name: "storm",
        title: "Spikes",
        question: "What about spikes?",
        method: "\
            Every call of a loop is timed, nine of ten look a key up, the tenth overwrites one: \
            around the moment at which half a million entries fall due together, and after three \
            simulated days in which half a million fell due one by one while nobody called. \"No \
            cache\" is the same loop with nothing in it: the machine's own noise. After the days \
            there are only those caches that can be given a clock.",
        losses: Some(losses::storm),
        charts: charts::storm,
        tables: &[
            table("storm", "Half a million due together", tables::storm),
            table("after-days", "After idle days", tables::after_days),
            table("reap-limits", "Bounded by `reap_limit`, strings", tables::reap_limits),
        ],
    },
    Section {
        name: "hit",
        title: "Hit ratio",
        question: "What is kept when it is full?",
        method: "\
            Traces are replayed in simulated time, each request a look-up and, on a miss, an \
            insertion. FIFO, LRU, SIEVE and S3-FIFO are textbook versions; the optimum is \
            Belady's.",
        losses: Some(losses::hit),
        charts: charts::hit,
        tables: &[
            table("", "Hit ratio, real traces, %", |record| {
                tables::hit_ratio(record, "real/", &[])
            }),
            table("", "Hit ratio, generated traces, %", |record| {
                tables::hit_ratio(record, "generated/", &[])
            }),
            table("", "Hit ratio, traces with TTLs, %", |record| {
                tables::hit_ratio(record, "ttl/", &[])
            }),
            table("", "At the same number of bytes, % (and the capacity)", |record| {
                tables::hit_bytes(record, "", &[])
            }),
            table("", "Bars of the hit ratio, in points", tables::hit_bars),
        ],
    },
    Section {
        name: "growth",
        title: "Growth",
        question: "What does it cost as it grows?",
        method: "Keys are uniform; all caches of a size take turns.",
        losses: Some(losses::growth),
        charts: charts::growth,
        tables: &[table(
            "growth",
            "Time of a call, median, and half the distance of the quartiles",
            tables::growth,
        )],
    },
    Section {
        name: "wheel",
        title: "The wheel alone",
        question: "And the timing wheel alone?",
        method: "\
            Deadlines are spread over an hour. All are cancelled in another order, or all expired.",
        losses: Some(losses::wheel),
        charts: charts::wheel,
        tables: &[table("wheel", "The wheel alone, timers a second", tables::wheel)],
    },
    Section {
        name: "operations",
        title: "Operations",
        question: "What does each operation cost?",
        method: "As criterion has it, of punctual alone, with 95 % confidence.",
        losses: None,
        charts: |_| None,
        tables: &[table(
            "operations",
            "Each operation, 100,000 entries of u64 to u64",
            tables::operations,
        )],
    },
    Section {
        name: "loads",
        title: "Loading",
        question: "Does loading reach its bars?",
        method: "\
            A load takes 50 ms; all callers begin at once. Counts and shares are the worst of five \
            runs, times their median; what stands beside them (callers that waited, writes a \
            second, hits) is the least of the runs. A hit is timed in interleaved rounds, in \
            brackets the medians of both. Bytes are what the builder or the allocator says.",
        losses: None,
        charts: |_| None,
        tables: &[table("loads", "Bars of loading: must, aim, measured", tables::loads)],
    },
    Section {
        name: "pressure",
        title: "Under pressure",
        question: "Is it on time where threads starve, and with many caches and small ones?",
        method: "\
            *Starved*: twice eight threads look up keys that expire all the time; how long after \
            its TTL a value was returned at most, by a clock read before the call. *Stopped*: a \
            child process is stopped for 3 s while four threads look up what expires meanwhile; \
            the most late returns of one thread, over all rounds. *Idle*: processor time of the \
            whole process. *In use*: the time of the calls, and the processor time of the reaper. A \
            hit is compared with one of the version whose folder `PUNCTUAL_BEFORE` names, run by \
            run; the best run of each counts. Bytes are what the builder says.",
        losses: None,
        charts: |_| None,
        tables: &[table("pressure", "Bars under pressure: must, aim, measured", tables::pressure)],
    },
    Section {
        name: "rules",
        title: "Rules",
        question: "What do counters, idle time, weights and jitter cost, and do they hold?",
        method: "\
            *Counters* and *renewal*: one thread, `u64` to `u64`, a TTL on each entry, which does \
            not end meanwhile; interleaved rounds, ratios of medians, of five runs with caches \
            built afresh the median, in brackets the worst and the medians of both. What the \
            reaper does with postponed ends is not in it. *Weights*: sizes log-uniform by key, \
            keys by Zipf 0.99 of twenty times as many as fit of mean size, at most 64 MiB. Heap is \
            what the allocator counts, tables included, the most after any call of three runs; \
            the weight is the value's capacity, the cache's `capacity` twice as many as fit. Hit \
            ratios are medians of nine runs, the same keys for all; `capacity`, and quick_cache's \
            estimate, is as many as fit; moka's housekeeping runs every 32 requests. *Jitter*: a \
            `ManualClock`, all due entries freed after each step.",
        losses: None,
        charts: |_| None,
        tables: &[table("rules", "Bars of rules: must, aim, measured", tables::rules)],
    },
    Section {
        name: "bytes",
        title: "Caches of bytes",
        question: "Do the caches of bytes reach their bars?",
        method: "\
            *Beside*, *used* and *pairs*: of a full cache of 64 MiB, tables included, after four \
            times as many entries as fit. *Hits* and *policies*: read-through in simulated time, a \
            `ManualClock` that each insertion sets forward; means, popularity, writes and TTLs of \
            the production clusters, values lognormal with sigma 1 (cluster 27: 0.5), four keys \
            for each entry that fits, three times as many insertions within the median TTL as fit \
            (cluster 27: ten), 40 % of the requests to warm up; a budget of 8 to 64 MiB. Peers keep \
            boxes with their deadlines; what is past one is a miss, and removed. Their greatest \
            weight is scaled until the blocks that glibc makes of their requests take the budget: \
            what they took in the mean stands beside them. *Moved* and *evicted*: the same loads. \
            *Speed*: keys of 20 B, a TTL on each entry of ours; interleaved rounds, medians of \
            processor time, ratios; 64 MiB of ours, and as many entries of the peers; `get` copies \
            into a buffer where the others clone boxes, `read` looks at one byte where it lies, \
            in foyer, too. *Waits*: one shard of 4 MiB, a thread that looks \
            keys up meanwhile, by the wall clock; only insertions that take less than twice their \
            processor time.",
        losses: None,
        charts: |_| None,
        tables: &[table("bytes", "Bars of bytes: must, aim, measured", tables::bytes)],
    },
    Section {
        name: "bars",
        title: "Its own bars",
        question: "Does it reach its own bars?",
        method: "\
            Half a million entries, a TTL on each. Measured is how many times as fast punctual is \
            as the other, unless a unit stands there: ratios of medians of interleaved rounds. Of \
            cores: beside what stands after the colon, by calls a second or by p99.9 (more is \
            better); *before* is the version whose folder `PUNCTUAL_BEFORE` names, and of its runs \
            and this one's the best counts.",
        losses: Some(losses::bars),
        charts: |_| None,
        tables: &[
            table("bars", "Bars: must, aim, measured", tables::bars),
            table("bars-cores", "Bars of cores: must, aim, measured", tables::bars_of_cores),
        ],
    },
];

/// All charts of a record.
pub(crate) fn charts(record: &Record) -> impl Iterator<Item = (String, Chart)> {
    SECTIONS.iter().flat_map(|section| (section.charts)(record).unwrap_or_default())
}
