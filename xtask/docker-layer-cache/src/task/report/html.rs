//! The report as one HTML page that needs nothing else. Pure; everything is escaped by `maud`.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::ImageReport;
use super::observation::{Observation, PastJob};
use super::text::{headline, word};
use crate::engine::StepResult;
use crate::ui::{bytes, seconds};

const CSS: &str = include_str!("report.css");
/// Of a stage in the graph, in SVG units.
const STAGE: (usize, usize) = (150, 44);
const GAP: (usize, usize) = (60, 20);

/// Returns the page.
pub(super) fn page(reports: &[ImageReport]) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                link rel="icon" href="data:,";
                title { "Docker layer cache report" }
                style { (PreEscaped(CSS)) }
            }
            body {
                header { h1 { "Docker layer cache" } }
                main { @for report in reports { (image(report)) } }
            }
        }
    }
    .into_string()
}

fn image(report: &ImageReport) -> Markup {
    let job = &report.job;
    html! {
        article {
            h2 { (job.image) }
            p.lead { (headline(report)) }
            p.meta { time { (job.time) } @if let Some(strategy) = job.strategy { " · " (strategy) } }
            @if let Some(keys) = &job.key { p.meta { "key " code { (keys.full.as_str()) } } }
            h3 { "The job" }
            (timeline(job))
            h3 { "What moved" }
            @match &job.compared_with {
                None => p { "There was no earlier key to compare with." },
                Some(from) if job.moved.is_empty() => p { "Nothing, compared with " (from) "." },
                Some(from) => {
                    p { "Compared with " (from) ":" }
                    ul { @for moved in &job.moved { li { (moved) } } }
                }
            }
            @if !job.stages.is_empty() {
                h3 { "Stages" }
                div.scroll tabindex="0" role="region" aria-label="Graph of the stages" { (graph(job)) }
            }
            h3 { "Steps" }
            (steps(job))
            h3 { "Layers in the store" }
            (layers(report))
            h3 { "The last jobs" }
            (history(&report.history))
        }
    }
}

fn timeline(job: &Observation) -> Markup {
    let total = job.seconds().max(0.001);
    table(
        "Phases of the job",
        &["phase", "result", ">bytes", ">seconds"],
        &html! {
            @for phase in &job.phases {
                tr {
                    th scope="row" { (phase.name) }
                    td { (phase.outcome) }
                    td.number { (bytes(phase.bytes)) }
                    td.number { (format!("{:.2}", phase.seconds))
                        progress max="100" value=(format!("{:.0}", phase.seconds / total * 100.0)) aria-label="share of the job" {} }
                }
            }
            @if let Some(phase) = &job.failed_in { tr { th scope="row" { (phase) } td.failed { "failed" } td {} td {} } }
        },
    )
}

fn steps(job: &Observation) -> Markup {
    table(
        "Steps of the build",
        &["result", "stage", "instruction", ">seconds", "why"],
        &html! {
            @for step in &job.steps {
                tr {
                    td { span class=(word(step.result)) { (word(step.result)) } }
                    td { (step.stage) }
                    td { @if let Some(line) = step.line { span.meta { "line " (line) " " } } code { (step.instruction) } }
                    td.number { (format!("{:.1}", step.seconds)) @if let Some(spared) = step.spared_seconds { br; span.meta { "spared " (seconds(spared)) } } }
                    td { (step.reason) }
                }
            }
        },
    )
}

fn layers(report: &ImageReport) -> Markup {
    let total: u64 = report.layers.iter().map(|layer| layer.bytes).sum();
    html! {
        @if report.layers.is_empty() {
            p { "The store has no layer of this build's steps." }
        } @else {
            p { (report.layers.len()) " steps have layers there, " (bytes(total)) " compressed." }
            (table("Layers in the store", &["stage", "instruction", ">bytes", ">entries that need it"], &html! {
                @for layer in &report.layers {
                    tr { td { (layer.stage) } td { code { (layer.instruction) } } td.number { (bytes(layer.bytes)) } td.number { (layer.entries) } }
                }
            }))
        }
    }
}

fn history(past: &[PastJob]) -> Markup {
    let longest = past.iter().map(|job| job.seconds).fold(0.001, f64::max);
    let height = |job: &PastJob| (job.seconds / longest * 80.0).max(1.0);
    html! {
        @if past.is_empty() { p { "The store remembers no job." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Chart of the last jobs" {
                svg.chart width=(past.len() * 20) height="90" viewBox=(format!("0 0 {} 90", past.len() * 20)) role="img" {
                    title { "How long the last jobs took" }
                    desc { "One bar a job, the oldest first; the longest took " (seconds(longest)) "." }
                    @for (at, job) in past.iter().enumerate() {
                        rect.bar x=(at * 20 + 2) y=(format!("{:.1}", 90.0 - height(job))) width="16" height=(format!("{:.1}", height(job))) {}
                    }
                }
            }
            (table("The last jobs", &["time", ">hits", ">seconds", ">step time spared", ">restored", ">saved"], &html! {
                @for job in past.iter().rev() {
                    tr {
                        td { (job.time) @if job.failed { " " span.failed { "failed" } } }
                        td.number { (job.hits) " of " (job.steps) }
                        td.number { (format!("{:.1}", job.seconds)) }
                        td.number { (seconds(job.spared_seconds)) }
                        td.number { (bytes(job.restored_bytes)) }
                        td.number { (bytes(job.saved_bytes)) }
                    }
                }
            }))
        }
    }
}

/// Columns whose name begins with `>` are numbers.
fn table(caption: &str, columns: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for column in columns { th.number[column.starts_with('>')] scope="col" { (column.trim_start_matches('>')) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// Draws the stages in columns: each right of all that it needs.
fn graph(job: &Observation) -> Markup {
    let mut places: Vec<(usize, usize)> = Vec::new();
    let mut rows: Vec<usize> = Vec::new();
    for stage in &job.stages {
        let needed = stage.needs.iter().filter_map(|need| places.get(*need));
        let column = needed.map(|place| place.0 + 1).max().unwrap_or(0);
        rows.resize(rows.len().max(column + 1), 0);
        places.push((column, rows[column]));
        rows[column] += 1;
    }
    let corner = |(column, row): (usize, usize)| {
        (column * (STAGE.0 + GAP.0) + 2, row * (STAGE.1 + GAP.1) + 2)
    };
    let width = rows.len() * (STAGE.0 + GAP.0) - GAP.0 + 4;
    let height = rows.iter().max().unwrap_or(&1) * (STAGE.1 + GAP.1) - GAP.1 + 4;
    html! {
        svg width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) role="img" {
            title { "Stages of the Dockerfile" }
            desc { "Each stage stands right of those that it needs." }
            @for (at, stage) in job.stages.iter().enumerate() {
                @for need in stage.needs.iter().filter(|need| **need < at) {
                    @let from = corner(places[*need]);
                    @let to = corner(places[at]);
                    line.edge x1=(from.0 + STAGE.0) y1=(from.1 + STAGE.1 / 2) x2=(to.0) y2=(to.1 + STAGE.1 / 2) {}
                }
            }
            @for (at, stage) in job.stages.iter().enumerate() {
                @let (x, y) = corner(places[at]);
                @let (class, words) = of_stage(job, &stage.name, stage.needed);
                g class={ "stage " (class) } {
                    title { (stage.name) ": " (words) }
                    rect x=(x) y=(y) width=(STAGE.0) height=(STAGE.1) rx="6" {}
                    text x=(x + 10) y=(y + 18) { (shortened(&stage.name)) }
                    text.small x=(x + 10) y=(y + 35) { (words) }
                }
            }
        }
    }
}

fn of_stage(job: &Observation, name: &str, needed: bool) -> (&'static str, String) {
    let results: Vec<StepResult> = job
        .steps
        .iter()
        .filter(|step| step.stage == name)
        .map(|step| step.result)
        .collect();
    let hits = results
        .iter()
        .filter(|result| **result == StepResult::Hit)
        .count();
    let class = if results.contains(&StepResult::Failed) {
        "failed"
    } else if results.is_empty() {
        "none"
    } else if hits == results.len() {
        "hit"
    } else {
        "run"
    };
    let words = match (needed, results.len()) {
        (false, _) => "not needed".to_owned(),
        (true, 0) => "no steps".to_owned(),
        (true, n) => format!("{hits} of {n} hit"),
    };
    (class, words)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= 15 {
        return name.to_owned();
    }
    let start: String = name.chars().take(14).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests;
