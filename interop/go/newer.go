// What newer Kafka has: transactions, groups whose partitions the broker assigns (KIP-848), share groups (KIP-932).
package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Two commits with an abort between them.
func scenarioTransactions() (string, error) {
	topic, err := topicOf("transactions", 1)
	if err != nil {
		return "", err
	}
	ctx, cancel := limited()
	defer cancel()
	client, err := newClient(kgo.TransactionalID(fresh("txn")), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return "", err
	}
	defer client.Close()
	for _, name := range []string{"one", "two", "three"} {
		if err := client.BeginTransaction(); err != nil {
			return "", err
		}
		if err := client.ProduceSync(ctx, numbered(30, name)...).FirstErr(); err != nil {
			return "", err
		}
		if err := client.EndTransaction(ctx, name != "two"); err != nil {
			return "", fmt.Errorf("ending %s: %w", name, err)
		}
	}
	committed, err := read(topic, 60, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return "", err
	}
	if err := same(append(numbered(30, "one"), numbered(30, "three")...), committed); err != nil {
		return "", fmt.Errorf("read_committed: %w", err)
	}
	everything, err := read(topic, 90)
	if err != nil {
		return "", err
	}
	all := slices.Concat(numbered(30, "one"), numbered(30, "two"), numbered(30, "three"))
	return "two committed, one aborted between them", same(all, everything)
}

// Consume, transform, produce by franz-go's own session, which puts the group's offsets into each transaction. Every third try is aborted.
func scenarioTransactSession() (string, error) {
	input, err := topicOf("eos-in", 1)
	if err != nil {
		return "", err
	}
	output, err := topicOf("eos-out", 1)
	if err != nil {
		return "", err
	}
	if err := produce(input, numbered(200, "value")); err != nil {
		return "", err
	}
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(*bootstrap), kgo.TransactionalID(fresh("txn")), kgo.ConsumerGroup(fresh("eos")),
		kgo.ConsumeTopics(input), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DefaultProduceTopic(output), kgo.RequireStableFetchOffsets())
	if err != nil {
		return "", err
	}
	defer session.Close()
	ctx, cancel := limited()
	defer cancel()
	copied, aborted := 0, 0
	for try := 0; copied < 200; try++ {
		records := session.PollRecords(ctx, 50).Records()
		if ctx.Err() != nil {
			return "", fmt.Errorf("%d of 200 records copied, %d tries aborted", copied, aborted)
		}
		if err := session.Begin(); err != nil {
			return "", err
		}
		for _, record := range records {
			session.Produce(ctx, &kgo.Record{Key: record.Key, Value: record.Value}, nil)
		}
		end := kgo.TransactionEndTry(try%3 != 0)
		committed, err := session.End(ctx, end)
		if err != nil {
			return "", err
		}
		if committed {
			copied += len(records)
		} else {
			aborted++
		}
	}
	got, err := read(output, 200, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("200 records copied, %d tries aborted", aborted), same(numbered(200, "value"), got)
}

func scenarioConsumerProtocol() (string, error) {
	return groupOf(kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
}

func startsAtTheEarliest(group string) error {
	ctx, cancel := limited()
	defer cancel()
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType = kmsg.ConfigResourceTypeGroupConfig
	resource.ResourceName = group
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name = "share.auto.offset.reset"
	config.Value = kmsg.StringPtr("earliest")
	resource.Configs = append(resource.Configs, config)
	request.Resources = append(request.Resources, resource)
	client, err := newClient()
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := request.RequestWith(ctx, client)
	if err == nil && answer.Resources[0].ErrorCode != 0 {
		err = fmt.Errorf("share.auto.offset.reset: error %d", answer.Resources[0].ErrorCode)
	}
	return err
}

// A queue: every third record is released once and comes again, the others are accepted at once.
func scenarioShareGroup() (string, error) {
	topic, err := topicOf("share", 1)
	if err != nil {
		return "", err
	}
	group := fresh("queue")
	if err := startsAtTheEarliest(group); err != nil {
		return "", err
	}
	if err := produce(topic, numbered(90, "job"), kgo.ProducerBatchMaxBytes(600)); err != nil {
		return "", err
	}
	client, err := newClient(kgo.ShareGroup(group), kgo.ConsumeTopics(topic))
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := limited()
	defer cancel()
	counts := map[string][]int32{}
	for settled := 0; settled < 90; {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return "", fmt.Errorf("%d of 90 records settled", settled)
		}
		for _, record := range fetches.Records() {
			counts[string(record.Value)] = append(counts[string(record.Value)], record.DeliveryCount())
			if record.Offset%3 == 0 && record.DeliveryCount() == 1 {
				record.Ack(kgo.AckRelease)
			} else {
				record.Ack(kgo.AckAccept)
				settled++
			}
		}
		if err := client.FlushAcks(ctx); err != nil {
			return "", err
		}
	}
	return "60 records accepted, 30 released and accepted", checkCounts(counts)
}

func checkCounts(counts map[string][]int32) error {
	if len(counts) != 90 {
		return fmt.Errorf("%d of 90 records came", len(counts))
	}
	twice := 0
	for value, seen := range counts {
		switch {
		case slices.Equal(seen, []int32{1, 2}):
			twice++
		case !slices.Equal(seen, []int32{1}):
			return fmt.Errorf("%s came with the delivery counts %v", value, seen)
		}
	}
	if twice != 30 {
		return errors.New("not every released record came a second time, or others did")
	}
	return nil
}
