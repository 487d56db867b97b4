use super::*;
use alloc::vec::Vec;

fn here(text: &'static str) -> DeliveryContent {
    DeliveryContent::Here(Bytes::from_static(text.as_bytes()))
}

#[test]
fn a_message_that_arrives_twice_is_taken_once() {
    let mut link: Link = Link::default();
    assert_eq!(link.accept(1, MessageKind::Message, here("a")), Ok(true));
    assert_eq!(link.accept(1, MessageKind::Message, here("a")), Ok(false));
    assert_eq!(link.take_arrival().unwrap().payload, Bytes::from_static(b"a"));
    assert_eq!(link.take_arrival(), None);
}

#[test]
fn a_gap_is_the_peers_fault() {
    let mut link: Link = Link::default();
    assert_eq!(link.accept(2, MessageKind::Message, here("b")), Err(LinkError::Gap { expected: 1, seq: 2 }));
}

#[test]
fn settling_what_was_never_sent_is_the_peers_fault() {
    let mut link: Link = Link::default();
    link.push(MessageKind::Message, Bytes::new(), ());
    assert_eq!(link.settle(2).map(|_| ()), Err(LinkError::SettledUnsent { seq: 2, next: 2 }));
    assert!(link.is_owed());
}

#[test]
fn a_large_message_holds_back_what_follows_it_until_it_is_here() {
    let mut link: Link = Link::default();
    link.accept(1, MessageKind::Message, DeliveryContent::Elsewhere).unwrap();
    link.accept(2, MessageKind::Message, here("after")).unwrap();
    assert_eq!((link.take_arrival(), link.arrived_upto()), (None, 0));
    assert_eq!(link.fulfil(1, Bytes::from_static(b"large")), Ok(true));
    assert_eq!(link.arrived_upto(), 2);
    assert_eq!(link.take_arrival().unwrap().seq, 1);
    assert_eq!(link.take_arrival().unwrap().seq, 2);
}

#[test]
fn the_bytes_of_a_large_message_may_come_before_its_frame() {
    let large = || Bytes::from_static(b"large");
    let mut link: Link = Link::default();
    assert_eq!(link.fulfil(2, large()), Ok(true));
    assert_eq!(link.fulfil(2, large()), Ok(false), "they are here");
    link.accept(1, MessageKind::Message, here("small")).unwrap();
    link.accept(2, MessageKind::Message, DeliveryContent::Elsewhere).unwrap();
    assert!(link.has_arrived(2));
    assert_eq!(link.fulfil(2, large()), Ok(false));
    assert_eq!(link.take_arrival().unwrap().seq, 1);
    assert_eq!(link.take_arrival().unwrap().payload, large());
    assert_eq!(link.fulfil(2, large()), Ok(false), "they were taken");
    assert_eq!(link.held_bytes, 0);
}

#[test]
fn bytes_that_came_early_on_a_lost_connection_come_again_on_the_next() {
    let mut link: Link = Link::default();
    link.fulfil(1, Bytes::from_static(b"large")).unwrap();
    assert_eq!(link.position(), 0);
    link.accept(1, MessageKind::Message, DeliveryContent::Elsewhere).unwrap();
    assert!(!link.has_ready_arrival());
    assert_eq!(link.fulfil(1, Bytes::from_static(b"large")), Ok(true));
    assert!(link.has_ready_arrival());
}

#[test]
fn a_lost_connection_forgets_what_had_half_arrived_and_all_after_it() {
    let mut link: Link = Link::default();
    link.accept(1, MessageKind::Message, here("whole")).unwrap();
    link.accept(2, MessageKind::Message, DeliveryContent::Elsewhere).unwrap();
    link.accept(3, MessageKind::Message, here("after")).unwrap();
    assert_eq!((link.arrived_upto(), link.position()), (1, 1));
    assert_eq!(link.accept(2, MessageKind::Message, here("again")), Ok(true));
    assert!(link.has_arrived(2));
}

#[test]
fn the_sender_goes_on_where_the_receiver_stopped() {
    let mut link: Link<char> = Link::default();
    for tag in ['a', 'b', 'c'] {
        link.push(MessageKind::Message, Bytes::new(), tag);
    }
    assert_eq!(link.settle(1).unwrap().map(|sent| sent.tag).collect::<Vec<_>>(), ['a']);
    let again: Vec<_> = link.resend_after(2).map(|sent| sent.tag).collect();
    assert_eq!(again, ['c']);
}

#[test]
fn the_window_closes_on_bytes_and_on_counts_but_lets_one_large_message_through() {
    let mut link: Link = Link::default();
    link.push(MessageKind::Message, Bytes::from(alloc::vec![0; LONE_BYTES_MAX + 1]), ());
    assert!(!link.has_room());
    drop(link.settle(1).unwrap());
    assert!(link.has_room());
    for _ in 0..WINDOW_MESSAGES_MAX {
        assert!(link.has_room());
        link.push(MessageKind::Message, Bytes::new(), ());
    }
    assert!(!link.has_room());
}

#[test]
fn a_second_long_message_follows_one_that_is_alone_and_no_third() {
    let mut link: Link = Link::default();
    for _ in 0..2 {
        assert!(link.has_room());
        link.push(MessageKind::Message, Bytes::from(alloc::vec![0; LONE_BYTES_MAX]), ());
    }
    assert!(!link.has_room());
    drop(link.settle(1).unwrap());
    assert!(link.has_room());
}

#[test]
fn what_a_correct_sender_has_unsettled_is_no_overrun() {
    let (mut sender, mut receiver) = (Link::<()>::default(), Link::<()>::default());
    for length in [LONE_BYTES_MAX, MESSAGE_BYTES_MAX] {
        assert!(sender.has_room());
        let seq = sender.push(MessageKind::Message, Bytes::from(alloc::vec![0; length]), ()).seq;
        receiver.fulfil(seq, Bytes::from(alloc::vec![0; length])).unwrap();
        receiver.accept(seq, MessageKind::Message, DeliveryContent::Elsewhere).unwrap();
    }
    let failure = MessageKind::Failure { about: 1 };
    receiver.accept(3, failure, here("it could not")).unwrap();
    assert!(!sender.has_room());
}

#[test]
fn a_peer_that_ignores_the_window_is_found_out() {
    let mut link: Link = Link::default();
    let overrun = (1..).find_map(|seq| link.accept(seq, MessageKind::Message, here("")).err());
    assert_eq!(overrun, Some(LinkError::Overrun { seq: OUTSTANDING_MAX + 1 }));
}

#[test]
fn a_peer_that_sends_more_bytes_than_two_of_the_largest_messages_is_found_out() {
    let large = Bytes::from(alloc::vec![0; MESSAGE_BYTES_MAX]);
    let mut link: Link = Link::default();
    assert_eq!(link.fulfil(1, large.clone()), Ok(true));
    assert_eq!(link.fulfil(2, large.clone()), Err(LinkError::Overrun { seq: 2 }));
    link.accept(1, MessageKind::Message, DeliveryContent::Elsewhere).unwrap();
    link.accept(2, MessageKind::Message, DeliveryContent::Elsewhere).unwrap();
    link.take_arrival().unwrap();
    assert_eq!(link.fulfil(2, large), Ok(true), "the first was taken");
    assert_eq!(
        link.fulfil(2 + OUTSTANDING_MAX, Bytes::new()),
        Err(LinkError::Overrun { seq: 2 + OUTSTANDING_MAX })
    );
}
