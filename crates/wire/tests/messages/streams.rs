//! Bytes that the Java classes of Kafka 4.3.1 wrote for the groups of stream processors, which the other
//! implementation does not have.

use crate::kafka::{bytes, is_request, is_response};

mod heartbeat {
    use wire::streams_group_heartbeat::*;

    fn topology() -> Topology<'static> {
        let changelog = TopicInfo {
            name: "c",
            partitions: 7,
            replication_factor: 8,
            topic_configs: vec![KeyValue {
                key: "k",
                value: "v",
            }],
        };
        let repartition = TopicInfo {
            name: "e",
            partitions: 9,
            replication_factor: 1,
            topic_configs: Vec::new(),
        };
        let subtopology = Subtopology {
            subtopology_id: "s",
            source_topics: vec!["a"],
            source_topic_regex: vec!["b"],
            state_changelog_topics: vec![changelog],
            repartition_sink_topics: vec!["d"],
            repartition_source_topics: vec![repartition],
            copartition_groups: vec![CopartitionGroup {
                source_topics: vec![0, 1],
                source_topic_regex: vec![2],
                repartition_source_topics: vec![3],
            }],
        };
        Topology {
            epoch: 6,
            subtopologies: vec![subtopology],
        }
    }

    #[test]
    fn request_0() {
        let tasks = TaskIds {
            subtopology_id: "s",
            partitions: vec![1, 2],
        };
        let offset = |offset| TaskOffset {
            subtopology_id: "s",
            partition: 1,
            offset,
        };
        let tag = KeyValue {
            key: "x",
            value: "y",
        };
        let request = Request {
            group_id: "g",
            member_id: "m",
            member_epoch: 3,
            endpoint_information_epoch: 4,
            instance_id: Some("i"),
            rack_id: None,
            rebalance_timeout_ms: 5,
            topology: Some(topology()),
            active_tasks: Some(vec![tasks]),
            standby_tasks: Some(Vec::new()),
            warmup_tasks: None,
            process_id: Some("p"),
            user_endpoint: Some(Endpoint {
                host: "h",
                port: 65535,
            }),
            client_tags: Some(vec![tag]),
            task_offsets: Some(vec![offset(10)]),
            task_end_offsets: Some(vec![offset(11)]),
            shutdown_application: true,
        };
        let theirs = "0267026d0000000300000004026900000000050100000006020273020261020262020263\
            00000007000802026b0276000002026402026500000009000101000203000000010200020200030000\
            000202730300000001000000020001000270010268ffff000202780279000202730000000100000000\
            0000000a0002027300000001000000000000000b000100";
        super::is_request(request, 0, &super::bytes(theirs));
    }

    #[test]
    fn response_0() {
        let tasks = TaskIdsResponse {
            subtopology_id: "s".into(),
            partitions: vec![1],
        };
        let partitions = TopicPartitions {
            topic: "t".into(),
            partitions: vec![2],
        };
        let status = Status {
            status_code: 1,
            status_detail: "d".into(),
        };
        let endpoint = EndpointToPartitions {
            user_endpoint: EndpointResponse {
                host: "h".into(),
                port: 8080,
            },
            active_partitions: vec![partitions],
            standby_partitions: Vec::new(),
        };
        let response = Response {
            throttle_time_ms: 1,
            error_code: 2,
            error_message: Some("no".into()),
            member_id: "m".into(),
            member_epoch: 3,
            heartbeat_interval_ms: 4,
            acceptable_recovery_lag: 5,
            task_offset_interval_ms: 6,
            status: Some(vec![status]),
            active_tasks: Some(vec![tasks]),
            standby_tasks: None,
            warmup_tasks: Some(Vec::new()),
            endpoint_information_epoch: 7,
            partitions_by_user_endpoint: Some(vec![endpoint]),
        };
        let theirs = "000000010002036e6f026d000000030000000400000005000000060201026400020273020000\
            0001000001000000070202681f9000020274020000000200010000";
        super::is_response(response, 0, &super::bytes(theirs));
    }
}

mod describe {
    use wire::streams_group_describe::*;

    fn topology() -> Topology<'static> {
        let changelog = TopicInfo {
            name: "c".into(),
            partitions: 7,
            replication_factor: 1,
            topic_configs: vec![KeyValue {
                key: "k".into(),
                value: "v".into(),
            }],
        };
        let subtopology = Subtopology {
            subtopology_id: "s".into(),
            source_topics: vec!["a".into()],
            repartition_sink_topics: vec!["d".into()],
            state_changelog_topics: vec![changelog],
            repartition_source_topics: Vec::new(),
        };
        Topology {
            epoch: 4,
            subtopologies: Some(vec![subtopology]),
        }
    }

    fn member() -> Member<'static> {
        let tasks = |partition| TaskIds {
            subtopology_id: "s".into(),
            partitions: vec![partition],
        };
        let offset = |offset| TaskOffset {
            subtopology_id: "s".into(),
            partition: 1,
            offset,
        };
        Member {
            member_id: "m".into(),
            member_epoch: 5,
            instance_id: Some("i".into()),
            rack_id: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            topology_epoch: 6,
            process_id: "p".into(),
            user_endpoint: Some(Endpoint {
                host: "h".into(),
                port: 8080,
            }),
            client_tags: vec![KeyValue {
                key: "x".into(),
                value: "y".into(),
            }],
            task_offsets: vec![offset(10)],
            task_end_offsets: vec![offset(11)],
            assignment: Assignment {
                active_tasks: vec![tasks(1)],
                ..Assignment::default()
            },
            target_assignment: Assignment {
                warmup_tasks: vec![tasks(2)],
                ..Assignment::default()
            },
            is_classic: true,
        }
    }

    #[test]
    fn request_0() {
        let request = Request {
            group_ids: vec!["g"],
            include_authorized_operations: true,
        };
        super::is_request(request, 0, &super::bytes("0202670100"));
    }

    #[test]
    fn response_0() {
        let known = DescribedGroup {
            group_id: "g".into(),
            group_state: "Stable".into(),
            group_epoch: 2,
            assignment_epoch: 3,
            topology: Some(topology()),
            members: vec![member()],
            ..DescribedGroup::default()
        };
        let unknown = DescribedGroup {
            error_code: 69,
            error_message: Some("no".into()),
            group_id: "h".into(),
            authorized_operations: 3,
            ..DescribedGroup::default()
        };
        let response = Response {
            throttle_time_ms: 1,
            groups: vec![known, unknown],
        };
        let theirs = "0000000103000000026707537461626c65000000020000000301000000040202730202610202\
            6402026300000007000102026b0276000001000002026d000000050269000263032f68000000060270\
            0102681f900002027802790002027300000001000000000000000a0002027300000001000000000000\
            000b00020273020000000100010100010102027302000000020000010080000000000045036e6f0268\
            010000000000000000ff01000000030000";
        super::is_response(response, 0, &super::bytes(theirs));
    }
}
