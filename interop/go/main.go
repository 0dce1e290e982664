// franz-go, as fetched as a Go module: the scenarios of interop/python/scenarios.py, by the same names.
// Its groups use the cooperative-sticky assignor, which is its default.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = 40 * time.Second

var (
	bootstrap = flag.String("bootstrap", "", "host:port")
	only      = flag.String("only", "", "comma separated names of scenarios")
	admin     *kadm.Client
	names     int
)

func fresh(what string) string {
	names++
	return fmt.Sprintf("franz-go-%s-%d-%d", what, os.Getpid(), names)
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

func newClient(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(*bootstrap)}, options...)...)
}

func topicOf(what string, partitions int32) (string, error) {
	topic := fresh(what)
	return topic, create(topic, partitions)
}

func create(topic string, partitions int32) error {
	ctx, cancel := limited()
	defer cancel()
	_, err := admin.CreateTopic(ctx, partitions, 1, nil, topic)
	return err
}

func waitUntil(what func() string, condition func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		holds, err := condition()
		if err != nil || holds {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within 40 s: %s", what())
		}
	}
}

func numbered(count int, prefix string) []*kgo.Record {
	var records []*kgo.Record
	for i := range count {
		records = append(records, &kgo.Record{Key: fmt.Appendf(nil, "key-%d", i%7), Value: fmt.Appendf(nil, "%s-%d", prefix, i)})
	}
	return records
}

func produce(topic string, records []*kgo.Record, options ...kgo.Opt) error {
	client, err := newClient(append(options, kgo.DefaultProduceTopic(topic))...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := limited()
	defer cancel()
	return client.ProduceSync(ctx, records...).FirstErr()
}

func plain(options ...kgo.Opt) []kgo.Opt {
	return append(options, kgo.DisableIdempotentWrite())
}

func read(topic string, count int, options ...kgo.Opt) ([]*kgo.Record, error) {
	client, err := newClient(append(options, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := limited()
	defer cancel()
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("%d of %d records: %w", len(records), count, err)
		}
		for _, failure := range fetches.Errors() {
			return nil, failure.Err
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

func byKey(records []*kgo.Record) map[string][]string {
	lists := map[string][]string{}
	for _, record := range records {
		value := string(record.Value)
		if record.Value == nil {
			value = "<null>"
		}
		lists[string(record.Key)] = append(lists[string(record.Key)], value)
	}
	return lists
}

func same(sent, got []*kgo.Record) error {
	if len(sent) != len(got) {
		return fmt.Errorf("sent %d records, read %d", len(sent), len(got))
	}
	if !reflect.DeepEqual(byKey(sent), byKey(got)) {
		return errors.New("what was read differs from what was sent, or its order does")
	}
	return nil
}

// there and back: a new topic, the records sent with these options, read again and compared.
func thereAndBack(what string, partitions int32, sent []*kgo.Record, options ...kgo.Opt) error {
	topic, err := topicOf(what, partitions)
	if err != nil {
		return err
	}
	if err := produce(topic, sent, options...); err != nil {
		return err
	}
	got, err := read(topic, len(sent))
	if err != nil {
		return err
	}
	return same(sent, got)
}

func scenarioProduce() (string, error) {
	for _, acks := range []kgo.Acks{kgo.AllISRAcks(), kgo.LeaderAck(), kgo.NoAck()} {
		if err := thereAndBack("produce", 3, numbered(30, "value"), plain(kgo.RequiredAcks(acks))...); err != nil {
			return "", err
		}
	}
	return "acks all, 1 and 0", nil
}

func scenarioConsume() (string, error) {
	sent := append(numbered(300, "value"),
		&kgo.Record{Key: []byte("large"), Value: []byte(strings.Repeat("x", 200_000))},
		&kgo.Record{Key: []byte("empty"), Value: []byte{}},
		&kgo.Record{Key: []byte("gone")})
	return "303 records, one of 200 kB, one empty, one tombstone", thereAndBack("consume", 3, sent, plain()...)
}

func scenarioHeaders() (string, error) {
	topic, err := topicOf("headers", 1)
	if err != nil {
		return "", err
	}
	headers := []kgo.RecordHeader{{Key: "trace", Value: []byte("1")}, {Key: "trace", Value: []byte("2")},
		{Key: "empty", Value: []byte{}}, {Key: "text", Value: []byte("grüße")}, {Key: "null"}}
	if err := produce(topic, []*kgo.Record{{Value: []byte("v"), Headers: headers}}); err != nil {
		return "", err
	}
	got, err := read(topic, 1)
	if err != nil {
		return "", err
	}
	if !reflect.DeepEqual(got[0].Headers, headers) {
		return "", fmt.Errorf("sent %v, read %v", headers, got[0].Headers)
	}
	return "repeated key, empty value, UTF-8, null value", nil
}

func compression(codec kgo.CompressionCodec) func() (string, error) {
	return func() (string, error) {
		sent := numbered(500, strings.Repeat("compressible ", 20))
		return "500 records", thereAndBack("compression", 2, sent, plain(kgo.ProducerBatchCompression(codec))...)
	}
}

func scenarioIdempotence() (string, error) {
	return "2000 records, in order, none twice", thereAndBack("idempotence", 2, numbered(2000, "value"), kgo.ProducerBatchMaxBytes(2000))
}

// A group member from the earliest offset; commits after each poll.
type member struct {
	client   *kgo.Client
	mutex    sync.Mutex
	records  []*kgo.Record
	assigned map[int32]bool
	failure  error
	done     chan struct{}
	stop     context.CancelFunc
}

func join(group, topic string, options ...kgo.Opt) (*member, error) {
	m := &member{assigned: map[int32]bool{}, done: make(chan struct{})}
	note := func(holds bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			m.mutex.Lock()
			defer m.mutex.Unlock()
			for _, partition := range partitions[topic] {
				m.assigned[partition] = holds
			}
		}
	}
	client, err := newClient(append(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.HeartbeatInterval(300*time.Millisecond), kgo.OnPartitionsAssigned(note(true)),
		kgo.OnPartitionsRevoked(note(false)), kgo.OnPartitionsLost(note(false)))...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.client, m.stop = client, cancel
	go m.poll(ctx)
	return m, nil
}

func (m *member) poll(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		records := m.client.PollFetches(ctx).Records()
		if len(records) == 0 {
			continue
		}
		err := m.client.CommitUncommittedOffsets(context.Background())
		m.mutex.Lock()
		m.records = append(m.records, records...)
		if err != nil {
			m.failure = err
		}
		m.mutex.Unlock()
	}
}

func (m *member) leave() {
	m.stop()
	<-m.done
	m.client.Close()
}

func (m *member) values() []string {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var values []string
	for _, record := range m.records {
		values = append(values, string(record.Value))
	}
	return values
}

func (m *member) owned() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var owned []int32
	for partition, holds := range m.assigned {
		if holds {
			owned = append(owned, partition)
		}
	}
	slices.Sort(owned)
	return owned
}

func waitSettled(members []*member, what string) error {
	state := func() string {
		var owned []string
		for _, m := range members {
			owned = append(owned, fmt.Sprint(m.owned()))
		}
		return what + ": " + strings.Join(owned, " ")
	}
	return waitUntil(state, func() (bool, error) {
		var all []int32
		for _, m := range members {
			if m.failure != nil {
				return false, m.failure
			}
			owned := m.owned()
			if len(owned) == 0 {
				return false, nil
			}
			all = append(all, owned...)
		}
		slices.Sort(all)
		return slices.Equal(all, []int32{0, 1, 2, 3, 4, 5}), nil
	})
}

func spread(prefix string) []*kgo.Record {
	var records []*kgo.Record
	for i := range 60 {
		records = append(records, &kgo.Record{Partition: int32(i % 6), Value: fmt.Appendf(nil, "%s-%d", prefix, i)})
	}
	return records
}

func scenarioGroup() (string, error) {
	return groupOf()
}

func groupOf(options ...kgo.Opt) (string, error) {
	topic, err := topicOf("group", 6)
	if err != nil {
		return "", err
	}
	group := fresh("members")
	byHand := kgo.RecordPartitioner(kgo.ManualPartitioner())
	if err := produce(topic, spread("first"), byHand); err != nil {
		return "", err
	}
	var members []*member
	for count, what := range []string{"one member has all", "two members share the partitions", "a third member gets its share"} {
		m, err := join(group, topic, options...)
		if err != nil {
			return "", err
		}
		members = append(members, m)
		if err := waitSettled(members, what); err != nil {
			return "", fmt.Errorf("member %d: %w", count+1, err)
		}
	}
	if err := produce(topic, spread("second"), byHand); err != nil {
		return "", err
	}
	members[0].leave()
	if err := waitSettled(members[1:], "the others take over"); err != nil {
		return "", err
	}
	if err := produce(topic, spread("third"), byHand); err != nil {
		return "", err
	}
	if err := waitDistinct(members, 180); err != nil {
		return "", err
	}
	for _, m := range members[1:] {
		m.leave()
	}
	return "2 members, 3, then 2 again; every record; resumed at the committed offsets", resume(group, topic, byHand, options...)
}

func waitDistinct(members []*member, count int) error {
	got := func() int {
		distinct := map[string]bool{}
		for _, m := range members {
			for _, value := range m.values() {
				distinct[value] = true
			}
		}
		return len(distinct)
	}
	return waitUntil(func() string { return fmt.Sprintf("%d of %d records arrive", got(), count) },
		func() (bool, error) { return got() == count, nil })
}

func resume(group, topic string, option kgo.Opt, options ...kgo.Opt) error {
	m, err := join(group, topic, options...)
	if err != nil {
		return err
	}
	defer m.leave()
	if err := produce(topic, spread("fourth"), option); err != nil {
		return err
	}
	if err := waitDistinct([]*member{m}, 60); err != nil {
		return err
	}
	for _, value := range m.values() {
		if !strings.HasPrefix(value, "fourth") {
			return fmt.Errorf("the new member did not continue at the committed offsets: it got %s", value)
		}
	}
	return nil
}

func scenarioTimes() (string, error) {
	topic, err := topicOf("times", 1)
	if err != nil {
		return "", err
	}
	base := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	var records []*kgo.Record
	for i := range 10 {
		records = append(records, &kgo.Record{Value: fmt.Appendf(nil, "v-%d", i), Timestamp: base.Add(time.Duration(i) * time.Second)})
	}
	if err := produce(topic, records); err != nil {
		return "", err
	}
	// Where there is none, kadm answers with the end of the partition.
	for after, offset := range map[time.Duration]int64{-5000: 0, 0: 0, 3500: 4, 9000: 9, 9001: 10} {
		ctx, cancel := limited()
		found, err := admin.ListOffsetsAfterMilli(ctx, base.Add(after*time.Millisecond).UnixMilli(), topic)
		cancel()
		if err != nil {
			return "", err
		}
		if at, _ := found.Lookup(topic, 0); at.Err != nil || at.Offset != offset {
			return "", fmt.Errorf("%d ms after the first: offset %d (%v), not %d", after, at.Offset, at.Err, offset)
		}
	}
	return "5 times", nil
}

func partitionCount(topic string) (int, error) {
	ctx, cancel := limited()
	defer cancel()
	details, err := admin.ListTopics(ctx, topic)
	return len(details[topic].Partitions), err
}

func isListed(topic string) (bool, error) {
	ctx, cancel := limited()
	defer cancel()
	details, err := admin.ListTopics(ctx)
	return details.Has(topic), err
}

func scenarioTopics() (string, error) {
	topic, err := topicOf("admin", 4)
	if err != nil {
		return "", err
	}
	if count, err := partitionCount(topic); err != nil || count != 4 {
		return "", fmt.Errorf("created with 4 partitions, described with %d (%v)", count, err)
	}
	if listed, err := isListed(topic); err != nil || !listed {
		return "", fmt.Errorf("not listed (%v)", err)
	}
	if err := create(topic, 4); err == nil || !strings.Contains(err.Error(), "TOPIC_ALREADY_EXISTS") {
		return "", fmt.Errorf("a second create answered %v", err)
	}
	return "create, list, describe, refused when it exists", nil
}

func scenarioConfigs() (string, error) {
	topic, err := topicOf("configs", 1)
	if err != nil {
		return "", err
	}
	ctx, cancel := limited()
	defer cancel()
	for key, value := range map[string]string{"retention.ms": "86400000", "max.message.bytes": "2000000"} {
		answers, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
		if err != nil || answers[0].Err != nil {
			return "", fmt.Errorf("%v %v", err, answers)
		}
		err = waitUntil(func() string { return key + " is read back" }, func() (bool, error) {
			configs, err := admin.DescribeTopicConfigs(ctx, topic)
			if err != nil {
				return false, err
			}
			at := slices.IndexFunc(configs[0].Configs, func(c kadm.Config) bool { return c.Key == key })
			return at >= 0 && configs[0].Configs[at].MaybeValue() == value, nil
		})
		if err != nil {
			return "", err
		}
	}
	return "retention.ms and max.message.bytes altered and read back", nil
}

func scenarioPartitions() (string, error) {
	topic, err := topicOf("partitions", 2)
	if err != nil {
		return "", err
	}
	ctx, cancel := limited()
	defer cancel()
	answers, err := admin.UpdatePartitions(ctx, 5, topic)
	if err = errors.Join(err, answers[topic].Err); err != nil {
		return "", err
	}
	err = waitUntil(func() string { return "5 partitions are described" }, func() (bool, error) {
		count, err := partitionCount(topic)
		return count == 5, err
	})
	if err != nil {
		return "", err
	}
	return "2 to 5, written to the last", produce(topic, []*kgo.Record{{Partition: 4, Value: []byte("v")}}, kgo.RecordPartitioner(kgo.ManualPartitioner()))
}

func scenarioDeleteRecords() (string, error) {
	topic, err := topicOf("truncate", 1)
	if err != nil {
		return "", err
	}
	if err := produce(topic, numbered(10, "value")); err != nil {
		return "", err
	}
	ctx, cancel := limited()
	defer cancel()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 4, -1)
	answers, err := admin.DeleteRecords(ctx, offsets)
	if err = errors.Join(err, answers.Error()); err != nil {
		return "", err
	}
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return "", err
	}
	if start, _ := starts.Lookup(topic, 0); start.Offset != 4 {
		return "", fmt.Errorf("the first offset is %d, not 4", start.Offset)
	}
	got, err := read(topic, 6)
	if err == nil && got[0].Offset != 4 {
		err = fmt.Errorf("reading from the start began at %d", got[0].Offset)
	}
	return "first offset 4 after deleting before 4", err
}

func scenarioDeleteTopic() (string, error) {
	topic, err := topicOf("delete", 1)
	if err != nil {
		return "", err
	}
	if err := produce(topic, numbered(10, "value")); err != nil {
		return "", err
	}
	ctx, cancel := limited()
	defer cancel()
	answers, err := admin.DeleteTopics(ctx, topic)
	if err = errors.Join(err, answers.Error()); err != nil {
		return "", err
	}
	err = waitUntil(func() string { return "the topic is no longer listed" }, func() (bool, error) {
		listed, err := isListed(topic)
		return !listed, err
	})
	if err = errors.Join(err, create(topic, 1)); err != nil {
		return "", err
	}
	if err := produce(topic, numbered(1, "again")); err != nil {
		return "", err
	}
	got, err := read(topic, 1)
	if err == nil && (string(got[0].Value) != "again-0" || got[0].Offset != 0) {
		err = fmt.Errorf("the new topic of the same name begins with %q at %d", got[0].Value, got[0].Offset)
	}
	return "deleted, then made again: empty", err
}

func scenarioGroups() (string, error) {
	topic, err := topicOf("groups", 1)
	if err != nil {
		return "", err
	}
	group := fresh("listed")
	if err := produce(topic, numbered(10, "value")); err != nil {
		return "", err
	}
	m, err := join(group, topic)
	if err != nil {
		return "", err
	}
	if err := waitDistinct([]*member{m}, 10); err != nil {
		return "", err
	}
	ctx, cancel := limited()
	defer cancel()
	listed, err := admin.ListGroups(ctx)
	if _, there := listed[group]; err != nil || !there {
		return "", fmt.Errorf("the group is not listed (%v)", err)
	}
	m.leave()
	committed, err := admin.FetchOffsets(ctx, group)
	if at, there := committed.Lookup(topic, 0); err != nil || !there || at.At != 10 {
		return "", fmt.Errorf("committed %d (%v), not 10", at.At, err)
	}
	answers, err := admin.DeleteGroups(ctx, group)
	if err = errors.Join(err, answers.Error()); err != nil {
		return "", err
	}
	listed, err = admin.ListGroups(ctx)
	if _, there := listed[group]; err != nil || there {
		return "", fmt.Errorf("the deleted group is still listed (%v)", err)
	}
	return "listed, offsets read, deleted", nil
}

type scenario struct {
	name string
	run  func() (string, error)
}

var scenarios = []scenario{
	{"produce", scenarioProduce},
	{"consume", scenarioConsume},
	{"headers", scenarioHeaders},
	{"compression-none", compression(kgo.NoCompression())},
	{"compression-gzip", compression(kgo.GzipCompression())},
	{"compression-snappy", compression(kgo.SnappyCompression())},
	{"compression-lz4", compression(kgo.Lz4Compression())},
	{"compression-zstd", compression(kgo.ZstdCompression())},
	{"idempotence", scenarioIdempotence},
	{"group-rebalance", scenarioGroup},
	{"offsets-by-time", scenarioTimes},
	{"admin-topics", scenarioTopics},
	{"admin-configs", scenarioConfigs},
	{"admin-partitions", scenarioPartitions},
	{"admin-delete-records", scenarioDeleteRecords},
	{"admin-delete-topic", scenarioDeleteTopic},
	{"admin-groups", scenarioGroups},
	{"transactions", scenarioTransactions},
	{"transactions-session", scenarioTransactSession},
	{"group-consumer-protocol", scenarioConsumerProtocol},
	{"share-group", scenarioShareGroup},
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/twmb/franz-go" {
				return strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return "?"
}

func main() {
	flag.Parse()
	out := json.NewEncoder(os.Stdout)
	_ = out.Encode(map[string]any{"client": "franz-go", "version": version()})
	client, err := newClient()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	admin = kadm.NewClient(client)
	for _, s := range scenarios {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		start := time.Now()
		detail, err := s.run()
		line := map[string]any{"scenario": s.name, "ok": err == nil, "detail": detail, "seconds": time.Since(start).Seconds()}
		if err != nil {
			line["detail"] = err.Error()
		}
		_ = out.Encode(line)
	}
}
