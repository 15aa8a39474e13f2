// A small site, made and unmade with the provider's Go SDK: sdk API_URL API_KEY
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"

	"github.com/vultr/govultr/v3"
)

type bearer string

func (key bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	request.Header.Set("Authorization", "Bearer "+string(key))
	return http.DefaultTransport.RoundTrip(request)
}

func must(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}

func expect(right bool, what string, found any) {
	if !right {
		log.Output(2, fmt.Sprintf("%s: found %+v", what, found))
		os.Exit(1)
	}
}

func main() {
	log.SetFlags(log.Lshortfile)
	ctx := context.Background()
	cloud := govultr.NewClient(&http.Client{Transport: bearer(os.Args[2])})
	// The SDK resolves its paths, which begin with /v2, against the address's root.
	must(cloud.SetBaseURL(os.Args[1]))
	yes := true

	account, _, err := cloud.Account.Get(ctx)
	must(err)
	expect(slices.Contains(account.ACL, "dns"), "account's rights", account)
	system := 0
	systems, _, _, err := cloud.OS.List(ctx, &govultr.ListOptions{PerPage: 500})
	must(err)
	for _, one := range systems {
		if one.Name == "Debian 13 x64 (trixie)" {
			system = one.ID
		}
	}
	plans, _, _, err := cloud.Plan.List(ctx, "vc2", &govultr.ListOptions{})
	must(err)
	expect(plans[0].MonthlyCost > 0, "price of a plan", plans[0])

	group, _, err := cloud.FirewallGroup.Create(ctx, &govultr.FirewallGroupReq{Description: "go"})
	must(err)
	rule, _, err := cloud.FirewallRule.Create(ctx, group.ID, &govultr.FirewallRuleReq{
		IPType: "v4", Protocol: "tcp", Subnet: "0.0.0.0", SubnetSize: 0, Port: "22",
	})
	must(err)
	expect(rule.ID == 1 && rule.Action == "accept", "firewall rule", rule)
	vpc, _, err := cloud.VPC.Create(ctx, &govultr.VPCReq{Region: "ams", V4Subnet: "10.30.0.0", V4SubnetMask: 24})
	must(err)

	var made []*govultr.Instance
	for _, name := range []string{"go-1", "go-2", "go-3"} {
		instance, _, err := cloud.Instance.Create(ctx, &govultr.InstanceCreateReq{
			Region: "ams", Plan: "vc2-1c-1gb", OsID: system, Label: name, Hostname: name, Tags: []string{"go"},
			EnableIPv6: &yes, FirewallGroupID: group.ID, AttachVPC: []string{vpc.ID},
		})
		must(err)
		expect(instance.Status == "pending", "state of a new instance", instance.Status)
		made = append(made, instance)
	}
	for _, instance := range made {
		until("booted instance", func() bool {
			now, _, err := cloud.Instance.Get(ctx, instance.ID)
			must(err)
			return now.Status == "active" && now.ServerStatus == "ok" && now.PowerStatus == "running" && now.InternalIP != ""
		})
	}

	listed, options := 0, &govultr.ListOptions{PerPage: 2, Tag: "go"}
	for {
		page, meta, _, err := cloud.Instance.List(ctx, options)
		must(err)
		listed += len(page)
		if meta.Links.Next == "" {
			break
		}
		options.Cursor = meta.Links.Next
	}
	expect(listed == 3, "instances on all pages", listed)

	first := made[0].ID
	changed, _, err := cloud.Instance.Update(ctx, first, &govultr.InstanceUpdateReq{Label: "go-one"})
	must(err)
	expect(changed.Label == "go-one" && len(changed.Tags) == 1, "changed instance", changed)
	infos, _, _, err := cloud.Instance.ListVPCInfo(ctx, first, nil)
	must(err)
	expect(len(infos) == 1 && infos[0].ID == vpc.ID, "networks of an instance", infos)

	block, _, err := cloud.BlockStorage.Create(ctx, &govultr.BlockStorageCreate{Region: "ams", SizeGB: 10, BlockType: "high_perf"})
	must(err)
	must(cloud.BlockStorage.Attach(ctx, block.ID, &govultr.BlockStorageAttach{InstanceID: first, Live: &yes}))
	block, _, err = cloud.BlockStorage.Get(ctx, block.ID)
	must(err)
	expect(block.AttachedToInstance == first && block.Cost == 1, "attached block storage", block)

	_, _, err = cloud.Domain.Create(ctx, &govultr.DomainReq{Domain: "go.example.org"})
	must(err)
	record, _, err := cloud.DomainRecord.Create(ctx, "go.example.org", &govultr.DomainRecordCreateReq{
		Name: "www", Type: "A", Data: "192.0.2.1", TTL: 300,
	})
	must(err)
	must(cloud.DomainRecord.Update(ctx, "go.example.org", record.ID, &govultr.DomainRecordUpdateReq{Data: "192.0.2.2"}))
	record, _, err = cloud.DomainRecord.Get(ctx, "go.example.org", record.ID)
	must(err)
	expect(record.Data == "192.0.2.2" && record.TTL == 300, "changed record", record)

	must(cloud.Instance.Halt(ctx, first))
	settled(ctx, cloud, first, "stopped")

	must(cloud.BlockStorage.Delete(ctx, block.ID))
	must(cloud.Domain.Delete(ctx, "go.example.org"))
	for _, instance := range made {
		must(cloud.Instance.Delete(ctx, instance.ID))
	}
	must(cloud.FirewallGroup.Delete(ctx, group.ID))
	_, _, err = cloud.Instance.Get(ctx, first)
	expect(err != nil, "deleted instance", err)
	until("VPC without instances", func() bool { return cloud.VPC.Delete(ctx, vpc.ID) == nil })
	lives(ctx, cloud, system)
	fmt.Println("made and unmade")
}
