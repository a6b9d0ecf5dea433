# In a checkout, with NFCorpus in BEIR's form in ../shared/data/nfcorpus; seed 0; two busy cores, 30 November 2026.
hybrid-search train beir --path ../shared/data/nfcorpus --out model
hybrid-search load beir --path ../shared/data/nfcorpus --model model --to index
hybrid-search load beir --path ../shared/data/nfcorpus --to index-en
mkdir results
hybrid-search compare beir --path ../shared/data/nfcorpus --split test en=index-en "bm25=index?mode=bm25" "knn=index?mode=knn" hybrid=index "diverse .3=index?diversity=0.3" "diverse .1=index?diversity=0.1" --baseline bm25 --format json > results/compared.json
hybrid-search evaluate beir --path ../shared/data/nfcorpus --from index --split test --format json > results/evaluated.json
hybrid-search tune index beir --path ../shared/data/nfcorpus --split dev --format json > results/tuned.json
hybrid-search diagnose index beir --path ../shared/data/nfcorpus --split test --format json > results/diagnosed.json
python -m benchmarks.search; python -m benchmarks.service; python -m benchmarks.growth
hybrid-search report results model benchmarks/results/search.json benchmarks/results/service.json benchmarks/results/growth.json --title "NFCorpus: towers that train went on with from en" --commands docs/reports/nfcorpus.sh --out docs/reports/nfcorpus.html
