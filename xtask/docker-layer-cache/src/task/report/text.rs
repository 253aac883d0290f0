//! The report as Markdown, for job summaries. Pure.

use std::fmt::Write;

use super::ImageReport;
use crate::engine::StepResult;
use crate::ui::{bytes, seconds};

/// Returns the word for what became of a step.
pub(super) fn word(result: StepResult) -> &'static str {
    match result {
        StepResult::Hit => "hit",
        StepResult::Run => "run",
        StepResult::Failed => "failed",
    }
}

/// Returns the one sentence that matters.
pub(super) fn headline(report: &ImageReport) -> String {
    let job = &report.job;
    let hits = format!("{} of {} steps hit", job.n_hits(), job.steps.len());
    let took = seconds(job.seconds());
    match &job.failed_in {
        Some(phase) => format!("failed in {phase}; {hits}"),
        None if report.spared_seconds > 0.0 => format!(
            "{hits}, sparing {} of step time; the job took {took}",
            seconds(report.spared_seconds)
        ),
        None => format!("{hits}; the job took {took}"),
    }
}

/// Returns the report as GitHub's Markdown.
pub(super) fn markdown(reports: &[ImageReport]) -> String {
    let mut out = String::from("# Docker layer cache\n");
    for report in reports {
        let job = &report.job;
        let _ = write!(
            out,
            "\n## {}\n\n{}\n\n| phase | result | bytes | seconds |\n|---|---|--:|--:|\n",
            escaped(&job.image),
            headline(report)
        );
        for phase in &job.phases {
            let (outcome, size) = (escaped(&phase.outcome), bytes(phase.bytes));
            let _ = writeln!(
                out,
                "| {} | {outcome} | {size} | {:.2} |",
                phase.name, phase.seconds
            );
        }
        out.push_str("\n| stage | line | instruction | result | seconds | why |\n|---|--:|---|---|--:|---|\n");
        for step in &job.steps {
            let line = step.line.map_or_else(String::new, |line| line.to_string());
            let _ = writeln!(
                out,
                "| {} | {line} | {} | {} | {:.1} | {} |",
                escaped(&step.stage),
                escaped(&step.instruction),
                word(step.result),
                step.seconds,
                escaped(&step.reason)
            );
        }
        for moved in &job.moved {
            let _ = write!(out, "\n- moved: {}", escaped(moved));
        }
        out.push('\n');
    }
    out
}

/// Returns text such that no Markdown and no HTML in it has any effect.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '@' => out.push_str("&#64;"),
            c if c.is_ascii_punctuation() && "\\`*_{}[]()#!|~".contains(c) => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
