//! The tables of one set, in Markdown. MB are 10^6 bytes.

use crate::meter::Cost;
use crate::store::engine::Outcome;
use crate::store::exact::Exact;
use crate::store::limits::Limits;

/// Everything measured in one round; its figures are compared only with each other.
pub struct Round {
    pub limits: Limits,
    pub outcomes: Vec<(&'static str, Outcome)>,
}

/// Prints limits, speeds, and bytes.
pub fn print(set: &str, exact: &[Exact], rounds: &[Round]) {
    let (Some(all), Some(first)) = (exact.last(), rounds.first()) else { return };
    let (count, mb) = (exact.len(), megabytes(all.raw_bytes));
    let mean_kib = all.raw_bytes as f64 / 1024.0 / all.chunks as f64;
    println!(
        "\n## {set}: {count} backups, {mb:.0} MB in chunks of {mean_kib:.1} KiB; medians of {}\n",
        rounds.len()
    );
    limits(rounds);
    println!();
    println!("| who | step | MB/s | CPU s/GiB | MB per CPU-s | / BLAKE3 |");
    println!("|---|---|---|---|---|---|");
    (0..first.outcomes.len()).for_each(|n| speeds(n, rounds));
    println!();
    bytes(exact, first);
}

fn limits(rounds: &[Round]) {
    println!("| limit, one core but for programs | MB/s | MB per CPU-s |");
    println!("|---|---|---|");
    let Some(first) = rounds.first() else { return };
    for (n, (name, _)) in first.limits.rows.iter().enumerate() {
        let costs = || rounds.iter().filter_map(move |round| Some(round.limits.rows.get(n)?.1));
        let (speed, per_cpu) = (
            median(costs().map(|c| c.mb_per_s()).collect()),
            median(costs().map(|c| c.mb_per_cpu_s()).collect()),
        );
        println!("| {name} | {speed:.0} | {per_cpu:.0} |");
    }
}

/// All rows of engine `n`.
fn speeds(n: usize, rounds: &[Round]) {
    let Some((name, outcome)) = rounds.first().and_then(|round| round.outcomes.get(n)) else { return };
    for (step, _) in steps(outcome) {
        let costs: Vec<(Cost, f64)> = rounds
            .iter()
            .filter_map(|round| {
                let (_, outcome) = round.outcomes.get(n)?;
                let (_, cost) = steps(outcome).into_iter().find(|(name, _)| *name == step)?;
                Some((cost, cost.mb_per_cpu_s() / round.limits.blake3.mb_per_cpu_s()))
            })
            .collect();
        let column = |value: fn(&Cost) -> f64| median(costs.iter().map(|(cost, _)| value(cost)).collect());
        let ratio = median(costs.iter().map(|(_, ratio)| *ratio).collect());
        println!(
            "| {name} | {step} | {:.0} | {:.2} | {:.0} | {ratio:.3} |",
            column(Cost::mb_per_s),
            column(Cost::cpu_s_per_gib),
            column(Cost::mb_per_cpu_s),
        );
    }
}

/// The further backups count as one step: each alone is short.
fn steps(outcome: &Outcome) -> Vec<(String, Cost)> {
    let [first, further @ .., again] = &outcome.ingests[..] else { return Vec::new() };
    let mut steps = vec![("first".to_owned(), first.cost)];
    if !further.is_empty() {
        let sum = further.iter().fold(Cost::default(), |sum, ingest| sum + ingest.cost);
        steps.push((format!("2 to {}", further.len() + 1), sum));
    }
    let last = outcome.ingests.len() - 1;
    steps.push((format!("{last} again"), again.cost));
    steps.push((format!("restore of {last}"), outcome.restore));
    steps
}

/// Stored bytes are the same in every round.
fn bytes(exact: &[Exact], round: &Round) {
    let further: String = (2..=exact.len()).map(|n| format!(" +{n} |")).collect();
    println!(
        "| who | stored MB, first |{further} again | sum | / exact | growth / exact | all files MB | peak MiB |"
    );
    println!("|{}", "---|".repeat(8 + exact.len() - 1));
    let mut least: Vec<u64> = exact.iter().map(|exact| exact.stored_bytes).collect();
    least.extend(least.last().copied());
    println!("| exact | {} | 1 | 1 | - | - |", columns(&least));
    for (name, outcome) in &round.outcomes {
        let stored: Vec<u64> = outcome.ingests.iter().map(|ingest| ingest.stored_bytes).collect();
        let files = outcome.ingests.last().map_or(0, |ingest| ingest.files_bytes);
        println!(
            "| {name} | {} | {:.3} | {} | {:.1} | {} |",
            columns(&stored),
            ratio(stored.last(), least.last()),
            growth_ratio(&stored, &least),
            megabytes(files),
            outcome.peak_mib
        );
    }
}

/// The first, what each of the others added, and the last.
fn columns(stored: &[u64]) -> String {
    let [first, .., last] = stored else { return String::new() };
    let added = stored.windows(2).map(|pair| format!("{:+.2}", megabytes(pair[1]) - megabytes(pair[0])));
    let words = [format!("{:.1}", megabytes(*first))].into_iter().chain(added);
    words.chain([format!("{:.1}", megabytes(*last))]).collect::<Vec<_>>().join(" | ")
}

/// What backups from the second on added, the repeated one too, beside what they had to.
fn growth_ratio(stored: &[u64], least: &[u64]) -> String {
    let growth = |bytes: &[u64]| bytes.last().zip(bytes.first()).map_or(0.0, |(b, a)| *b as f64 - *a as f64);
    let (grown, had_to) = (growth(stored), growth(least));
    if had_to > 0.0 { format!("{:.2}", grown / had_to) } else { "-".to_owned() }
}

fn ratio(a: Option<&u64>, b: Option<&u64>) -> f64 {
    a.zip(b).map_or(f64::NAN, |(a, b)| *a as f64 / *b as f64)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::engine::Ingest;

    fn outcome(costs: &[f64]) -> Outcome {
        let cost = |cpu_s| Cost { bytes: 1_000_000, wall_s: cpu_s, cpu_s };
        let ingests =
            costs.iter().map(|s| Ingest { cost: cost(*s), stored_bytes: 5, files_bytes: 6 }).collect();
        Outcome { ingests, restore: cost(9.0), peak_mib: 1 }
    }

    #[test]
    fn steps_are_the_first_the_further_ones_together_the_last_again_and_its_restore() {
        let names = |outcome| steps(&outcome).into_iter().map(|(n, c)| (n, c.cpu_s)).collect::<Vec<_>>();
        let name = str::to_owned;
        let one = [(name("first"), 1.0), (name("1 again"), 2.0), (name("restore of 1"), 9.0)];
        assert_eq!(names(outcome(&[1.0, 2.0])), one);
        let three = [
            (name("first"), 1.0),
            (name("2 to 3"), 5.0),
            (name("3 again"), 4.0),
            (name("restore of 3"), 9.0),
        ];
        assert_eq!(names(outcome(&[1.0, 2.0, 3.0, 4.0])), three);
    }

    #[test]
    fn columns_show_what_each_backup_added() {
        assert_eq!(columns(&[10_000_000, 12_500_000, 12_500_000]), "10.0 | +2.50 | +0.00 | 12.5");
        assert_eq!(growth_ratio(&[10, 14, 14], &[8, 10, 10]), "2.00");
        assert_eq!(growth_ratio(&[10, 20], &[8, 8]), "-");
    }
}
