use std::path::Path;

use grid_protocol::name::is_obeyed;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use wasm_grid::HostState;

use crate::command::top::data::{TopDetail, TopNews};
use crate::command::top::draw::{TopPalette, draw};
use crate::command::top::layout::TopSize;
use crate::command::top::samples::{
    NOW_MS, answer, click, host, host_detail, job_detail, joined, keys, mouse, seen, task_detail,
};
use crate::command::top::state::TopState;

fn drawn(state: &TopState, palette: TopPalette) -> Buffer {
    let size = state.size();
    let mut terminal = Terminal::new(TestBackend::new(size.columns, size.lines)).unwrap();
    terminal.draw(|frame| draw(state, palette, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn screen(state: &TopState) -> String {
    let buffer = drawn(state, TopPalette::new(true));
    let lines = buffer.content.chunks(buffer.area.width.max(1).into());
    let line = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", text.trim_end())
    };
    lines.map(line).collect()
}

/// Fails unless the screen is as in the golden file; `GRID_BLESS=1` writes it anew.
fn check(name: &str, state: &TopState) {
    let size = state.size();
    let file = format!("golden/top/{name}-{}x{}.txt", size.columns, size.lines);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
    let screen = screen(state);
    if std::env::var_os("GRID_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, screen).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(screen == golden, "cli/{file} is not up to date; GRID_BLESS=1 writes it. It would be:\n{screen}");
}

#[test]
fn every_list_is_drawn_as_in_its_golden_file_at_both_sizes() {
    for (columns, lines) in [(80, 24), (120, 40)] {
        for (digit, name) in ["overview", "hosts", "jobs", "workers", "modules", "events"].iter().enumerate()
        {
            let mut state = seen(columns, lines);
            keys(&mut state, &(digit + 1).to_string());
            check(name, &state);
        }
    }
}

#[test]
fn every_page_is_drawn_as_in_its_golden_file() {
    let cases: [(&str, &str, Option<TopDetail>); 4] = [
        ("host", "2d", Some(host_detail())),
        ("job", "3/million\nd", Some(job_detail())),
        ("task", "3/million\nt17\n", Some(task_detail())),
        ("help", "?", None),
    ];
    for (name, typed, detail) in cases {
        let mut state = seen(80, 24);
        keys(&mut state, typed);
        answer(&mut state, |round| round.detail = detail);
        check(name, &state);
    }
}

#[test]
fn prompts_and_questions_are_drawn_as_in_their_golden_files() {
    for (name, typed) in
        [("filter", "3/mil"), ("command", ":wo"), ("drain", "2^d"), ("stop", "3/million\n^k")]
    {
        let mut state = seen(80, 24);
        keys(&mut state, typed);
        check(name, &state);
    }
    let mut state = seen(80, 24);
    keys(&mut state, "2");
    state.handle_news(TopNews::Lost { unix_ms: NOW_MS, why: "it does not answer".to_owned() });
    check("lost", &state);
}

#[test]
fn a_narrow_screen_keeps_what_matters_and_one_that_is_too_small_has_a_sentence() {
    let mut state = seen(40, 10);
    keys(&mut state, "3");
    check("jobs", &state);
    for (columns, lines) in [(39, 10), (40, 9), (20, 3), (1, 1), (0, 0)] {
        state.handle_resize(TopSize { columns, lines });
        let screen = screen(&state);
        assert!(!screen.contains("jobs"), "{screen}");
        if columns >= 20 {
            assert!(screen.starts_with("grid top needs 40"), "{screen}");
        }
    }
    state.handle_resize(TopSize { columns: 80, lines: 24 });
    assert!(screen(&state).contains("to-a-million"));
}

#[test]
fn without_colour_no_cell_has_one_and_the_selected_row_is_still_to_be_seen() {
    let mut state = seen(80, 24);
    for typed in ["1", "2", "3", "4", "6", "2^d"] {
        keys(&mut state, typed);
        let buffer = drawn(&state, TopPalette::new(false));
        let coloured = |cell: &&ratatui::buffer::Cell| cell.fg != Color::Reset || cell.bg != Color::Reset;
        assert_eq!(buffer.content.iter().find(coloured), None, "{typed}");
        keys(&mut state, "\x1b");
    }
    keys(&mut state, "2");
    let (selected, other) = (drawn(&state, TopPalette::new(false)), |y: u16| (1, y));
    assert_ne!(selected[other(4)].modifier, selected[other(5)].modifier);
}

#[test]
fn what_hosts_are_called_and_what_they_say_moves_no_cursor() {
    let evil = "\x1b[2J\x1b]0;owned\x07\u{9b}1;1H\u{202e}evil\r\n\t";
    let mut state = seen(120, 40);
    answer(&mut state, |round| {
        round.hosts = Some(vec![host(1, evil, HostState::Away)]);
        round.events = vec![joined(9, evil)];
        round.status.store_trouble = Some(evil.to_owned());
        if let Some(jobs) = &mut round.jobs {
            jobs[0].spec.name = evil.to_owned();
        }
    });
    for typed in ["1", "2", "3", "4", "5", "6", "2d", "3d", "6d", "2^d", "\x1b3/x\x1b^k"] {
        keys(&mut state, typed);
        answer(&mut state, |round| round.detail = Some(TopDetail::Refused(evil.to_owned())));
        for cell in &drawn(&state, TopPalette::new(true)).content {
            assert!(!cell.symbol().chars().any(is_obeyed), "{typed:?}: {:?}", cell.symbol());
        }
    }
}

/// Keys, clicks, sizes and answers in an order that nobody thought of.
#[test]
fn nothing_that_is_typed_or_answered_at_any_size_makes_it_panic() {
    use crossterm::event::MouseEventKind;
    let typed = [
        "1", "2", "3", "4", "5", "6", "j", "k", "G", "g", " ", "d", "l", "t", "7\n", "/", "a", "\x1b", "\n",
        ":", "\t", "\x08", "?", "s", "S", "r", "^d", "^k", "^f", "^b", "y", "n", "é",
    ];
    for seed in 1..13_u64 {
        let mut state = seen(80, 24);
        let mut random = seed;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..150 {
            let small = |next: &mut dyn FnMut(u64) -> u64| u16::try_from(next(130)).unwrap();
            match next(8) {
                0 => {
                    let (columns, lines) = (small(&mut next), small(&mut next) / 2);
                    state.handle_resize(TopSize { columns, lines });
                }
                1 => {
                    let (x, y) = (small(&mut next), small(&mut next) / 2);
                    click(&mut state, x, y);
                    mouse(&mut state, MouseEventKind::ScrollUp, x, y);
                }
                2 => {
                    let details = [job_detail(), task_detail(), host_detail(), TopDetail::Worker(None)];
                    let detail = details.into_iter().nth(usize::try_from(next(5)).unwrap());
                    let empty = next(2) == 0;
                    answer(&mut state, |round| {
                        round.detail = detail;
                        if empty {
                            (round.hosts, round.jobs, round.overview) =
                                (Some(Vec::new()), Some(Vec::new()), None);
                        }
                    });
                }
                _ => {
                    let place = usize::try_from(next(typed.len() as u64)).unwrap();
                    keys(&mut state, typed[place]);
                }
            }
            drawn(&state, TopPalette::new(true));
        }
    }
}
